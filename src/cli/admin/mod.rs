//! `tollgate admin`: everyday administration of a running node, over its admin API.
//!
//! # How a command becomes calls
//! [`nouns`] is a table: each verb with what it takes, the path that it calls, and the columns that it shows. [`verb`] makes the command line
//! of it, with help, completion and man pages; [`session`] finds what the texts stand for ([`names`]), in the order of the table, puts
//! ids into the path and texts into fields, and calls ([`api`]); [`shown`] writes the answer. Verbs that take more than one call have
//! functions of their own: `keys`, `limits`, `tenants`, `usage`, `history`.
//!
//! # Secrets
//! A token comes from a file or a variable, never a flag: flags can be read by everybody on the machine. It goes out in a header.

mod api;
mod history;
mod keys;
mod limits;
mod names;
mod nouns;
mod session;
mod shown;
mod tenants;
mod usage;
mod verb;

use std::path::PathBuf;

use clap::Args;

use self::api::{Api, Place};
use self::session::{Failure, carry_out, first_line};
use self::verb::Asked;
use super::remote::{self, TOKEN_VARIABLE};
use super::{Exit, say, show, show_json};

/// The variable with the master's token.
const MASTER_TOKEN_VARIABLE: &str = "TOLLGATE_MASTER_TOKEN";

/// What help has the flags under that all verbs take.
const NODE: &str = "Node and output";

pub(super) const AFTER_HELP: &str = "\
An everyday story, with the administrator's access token in TOLLGATE_ADMIN_TOKEN:

  tollgate admin service create Weather
  tollgate admin plan create weather Bronze
  tollgate admin limit set bronze hits minute 10
  tollgate admin account create Acme --username ann --email ann@example.com
  tollgate admin app create Acme bronze 'First app'
  tollgate admin app list
  tollgate admin usage USER_KEY
  tollgate admin usage USER_KEY --period week
  tollgate admin app suspend USER_KEY

The token is an access token or a provider key: the first line of --token-file, else TOLLGATE_ADMIN_TOKEN, or for `tenant`, which \
is the master's, TOLLGATE_MASTER_TOKEN. It is no flag, since flags can be read by everybody on the machine. --tenant says whose token it must \
be. What a text could stand for more than once is refused.

Tables are for people: what is nothing is a dash. --json is for scripts: the API's own records, without what wraps them; a list is an array, \
always whole.

Exit codes: 0 done, 1 the node refuses it, or there is no such record, 2 unknown flag, or no token, 13 no node answers, 14 the token is \
refused.";

#[derive(Args, Debug)]
pub(super) struct Admin {
    /// Where the node's admin API is [default: TOLLGATE_URL, or http://127.0.0.1:3000]
    #[arg(long, value_name = "URL", global = true, help_heading = NODE)]
    url: Option<String>,

    /// File whose first line is the access token [default: the variable TOLLGATE_ADMIN_TOKEN; for `tenant`
    /// TOLLGATE_MASTER_TOKEN]
    #[arg(long, value_name = "FILE", global = true, help_heading = NODE)]
    token_file: Option<PathBuf>,

    /// Authorities (PEM) whose certificates are believed over https [default: those of the web]
    #[arg(long, value_name = "FILE", global = true, help_heading = NODE, alias = "ca-file")]
    cacert: Option<PathBuf>,

    /// The tenant by its number, to have another's token refused [default: whose token it is]
    #[arg(long, value_name = "N", global = true, help_heading = NODE)]
    tenant: Option<u64>,

    /// JSON instead of tables
    #[arg(long, global = true, help_heading = NODE)]
    json: bool,

    #[command(subcommand)]
    asked: Asked,
}

pub(super) fn run(admin: &Admin) -> Exit {
    let shown = admin.api().and_then(|api| carry_out(&api, &admin.asked));
    match shown {
        Ok(shown) if admin.json => show_json(&shown.json),
        Ok(shown) => {
            show(&shown.text());
            if let Some(note) = &shown.note {
                say(note);
            }
            Exit::Done
        }
        Err(Failure { exit, lines }) => {
            lines.iter().for_each(|line| say(&shown::tame(line)));
            exit
        }
    }
}

impl Admin {
    fn api(&self) -> Result<Api, Failure> {
        let is_masters = self.asked.noun.is_masters;
        if is_masters && self.tenant.is_some() {
            return Err(Failure::new(
                Exit::Usage,
                "--tenant is for what tenants do; tenants are the master's",
            ));
        }
        let url = remote::node_url(self.url.as_ref());
        let token = self.token(is_masters)?;
        Api::new(Place {
            url: &url,
            authorities: self.cacert.clone(),
            tenant: self.tenant,
            is_masters,
            token: &token,
        })
    }

    fn token(&self, is_masters: bool) -> Result<String, Failure> {
        let name = if is_masters { MASTER_TOKEN_VARIABLE } else { TOKEN_VARIABLE };
        match &self.token_file {
            Some(file) => first_line(file),
            None => remote::variable(name).ok_or_else(|| {
                let text = format!("a token is missing: name a file with --token-file, or set {name}");
                Failure::new(Exit::Usage, text)
            }),
        }
    }
}
