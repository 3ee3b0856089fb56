//! What a verb of `tollgate admin` is: what it takes on the command line, and which call of the admin API that becomes.

use std::collections::HashMap;

use clap::builder::PossibleValuesParser;
use clap::error::{Error, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches, Subcommand};

use super::nouns::NOUNS;
use super::session::{Failure, Session};
use super::shown::Shown;

/// What verbs are about.
#[derive(Debug)]
pub(super) struct Noun {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// Its calls are the master's.
    pub(super) is_masters: bool,
    /// One without a name is all that the noun does.
    pub(super) verbs: &'static [Verb],
}

/// What can be done.
#[derive(Debug)]
pub(super) struct Verb {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) takes: &'static [Take],
    pub(super) does: Does,
    /// The fields of a list that a table of it shows.
    pub(super) columns: &'static [&'static str],
}

/// What a verb does. In paths, what is in braces stands for what was [found](super::names) before.
#[derive(Clone, Copy, Debug)]
pub(super) enum Does {
    /// Shows all records of a list: of the first of these paths that everything is known for.
    List(&'static [&'static str]),
    /// Makes a call, and shows what is answered.
    Call(&'static str, &'static str),
    /// Makes a call with a field more.
    With(&'static str, &'static str, (&'static str, &'static str)),
    /// Makes a call, and shows what is then to be read at another path.
    Then(&'static str, &'static str, &'static str),
    /// Takes the record away that was found last.
    Delete(&'static str),
    /// Takes more than one call.
    Own(fn(&mut Session<'_>) -> Result<Shown, Failure>),
}

/// How something is given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum How {
    /// By its place.
    Place,
    /// By its place, or not at all.
    Maybe,
    /// By a flag, or not at all.
    Flag,
    /// By a flag that goes with no other of the verb.
    Alone,
    /// By a flag that must be there.
    Needed,
    /// By a flag that must be there, and may be more than once.
    Repeated,
    /// A flag without a value.
    Switch,
    /// Not at all: it is always this.
    Always(&'static str),
}

/// What a text stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Is {
    /// Itself.
    Text,
    /// A file, of which the first line is meant: secrets.
    File,
    Tenant,
    Service,
    Metric,
    Method,
    Plan,
    Account,
    App,
    /// A key of the application that was found before.
    Key,
    Token,
}

/// Something that a verb takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Take {
    /// The flag, or what stands for the place.
    pub(super) name: &'static str,
    /// What help says in place of a value.
    pub(super) shown: &'static str,
    pub(super) help: &'static str,
    pub(super) how: How,
    pub(super) is: Is,
    /// The field in which the API gets it; none if this is empty.
    pub(super) sent: &'static str,
    /// All that it can be, if that is known.
    pub(super) among: &'static [&'static str],
}

impl Take {
    /// What is given by its place.
    pub(super) const fn place(name: &'static str, shown: &'static str, is: Is, help: &'static str) -> Take {
        Take { name, shown, help, how: How::Place, is, sent: "", among: &[] }
    }

    /// A text that is given by a flag, or not, and sent.
    pub(super) const fn flag(
        name: &'static str,
        shown: &'static str,
        sent: &'static str,
        help: &'static str,
    ) -> Take {
        Take { name, shown, help, how: How::Flag, is: Is::Text, sent, among: &[] }
    }

    pub(super) const fn as_field(self, sent: &'static str) -> Take {
        Take { sent, ..self }
    }

    pub(super) const fn how(self, how: How) -> Take {
        Take { how, ..self }
    }

    pub(super) const fn is(self, is: Is) -> Take {
        Take { is, ..self }
    }

    pub(super) const fn among(self, among: &'static [&'static str]) -> Take {
        Take { among, ..self }
    }

    fn argument(&self, verb: &Verb) -> Option<Arg> {
        let arg = Arg::new(self.name).help(self.help);
        let arg = match self.how {
            How::Always(_) => return None,
            How::Switch => return Some(arg.long(self.name).action(ArgAction::SetTrue)),
            How::Place => arg.required(true),
            How::Maybe => arg,
            How::Flag => arg.long(self.name),
            How::Alone => {
                let others = verb.takes.iter().map(|take| take.name).filter(|name| *name != self.name);
                arg.long(self.name).conflicts_with_all(others)
            }
            How::Needed => arg.long(self.name).required(true),
            How::Repeated => arg.long(self.name).required(true).action(ArgAction::Append),
        };
        let arg = arg.value_name(self.shown);
        Some(if self.among.is_empty() {
            arg
        } else {
            arg.value_parser(PossibleValuesParser::new(self.among))
        })
    }
}

impl Verb {
    fn onto(&self, command: Command) -> Command {
        command.args(self.takes.iter().filter_map(|take| take.argument(self)))
    }
}

impl Noun {
    fn command(&self) -> Command {
        let command = Command::new(self.name).about(self.about);
        match self.verbs {
            [only] if only.name.is_empty() => only.onto(command),
            verbs => {
                let verbs = verbs.iter().map(|verb| verb.onto(Command::new(verb.name).about(verb.about)));
                command.subcommand_required(true).arg_required_else_help(true).subcommands(verbs)
            }
        }
    }
}

/// What was asked for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) noun: &'static Noun,
    pub(super) verb: &'static Verb,
    given: HashMap<&'static str, Vec<String>>,
}

impl Asked {
    fn of(noun: &'static Noun, verb: &'static Verb, matches: &ArgMatches) -> Asked {
        let values = |take: &Take| match take.how {
            How::Always(text) => vec![text.to_owned()],
            How::Switch => matches.get_flag(take.name).then(|| "true".to_owned()).into_iter().collect(),
            _ => matches.get_many::<String>(take.name).into_iter().flatten().cloned().collect(),
        };
        Asked { noun, verb, given: verb.takes.iter().map(|take| (take.name, values(take))).collect() }
    }

    /// What was given; nothing if it was not.
    pub(super) fn values(&self, name: &str) -> &[String] {
        self.given.get(name).map_or(&[], Vec::as_slice)
    }

    /// The first of what was given.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.values(name).first().map(String::as_str)
    }
}

impl FromArgMatches for Asked {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let missing = || Error::raw(ErrorKind::MissingSubcommand, "what to do is missing\n");
        let (name, matches) = matches.subcommand().ok_or_else(missing)?;
        let noun = NOUNS.iter().find(|noun| noun.name == name).ok_or_else(missing)?;
        if let [only] = noun.verbs
            && only.name.is_empty()
        {
            return Ok(Asked::of(noun, only, matches));
        }
        let (name, matches) = matches.subcommand().ok_or_else(missing)?;
        let verb = noun.verbs.iter().find(|verb| verb.name == name).ok_or_else(missing)?;
        Ok(Asked::of(noun, verb, matches))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Asked::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Subcommand for Asked {
    fn augment_subcommands(command: Command) -> Command {
        let command = command.subcommand_required(true).arg_required_else_help(true);
        command.subcommands(NOUNS.iter().map(Noun::command))
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        NOUNS.iter().any(|noun| noun.name == name)
    }
}
