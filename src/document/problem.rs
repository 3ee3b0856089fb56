//! What is wrong with a document, and where.

use std::fmt;

use serde::Serialize;

/// A place in a text. Lines and columns count from 1, columns in characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Debug)]
#[allow(missing_docs)]
pub struct Spot {
    pub line: usize,
    pub column: usize,
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Debug)]
pub struct Problem {
    /// Where in the text; nothing, if the document never was one.
    #[serde(flatten)]
    pub spot: Option<Spot>,
    /// Which value: keys and numbers from 0, as `services[0].metrics[2].unit`.
    pub path: String,
    /// What is wrong with it. Never shows a secret.
    pub problem: String,
}

impl Problem {
    /// A problem of the text as such.
    pub(crate) fn at(spot: Spot, problem: impl Into<String>) -> Problem {
        Problem { spot: Some(spot), path: String::new(), problem: problem.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Spot { line, column }) = self.spot {
            write!(f, "{line}:{column}: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.problem)
    }
}

/// The way to a value: keys and places in lists. Grows and shrinks while a document is gone through.
#[derive(Clone, Default, Debug)]
pub(crate) struct Path(Vec<Step>);

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Step {
    Key(String),
    At(usize),
}

impl Path {
    pub(crate) fn key(&self, key: &str) -> Path {
        let mut path = self.clone();
        path.0.push(Step::Key(key.to_owned()));
        path
    }

    pub(crate) fn at(&self, at: usize) -> Path {
        let mut path = self.clone();
        path.0.push(Step::At(at));
        path
    }

    pub(crate) fn steps(&self) -> &[Step] {
        &self.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if place == 0 => write!(f, "{key}")?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::At(at) => write!(f, "[{at}]")?,
            }
        }
        Ok(())
    }
}
