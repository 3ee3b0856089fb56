//! What of a document cannot be, whatever node it is for: names that are none or are there twice, references to what the document itself says is not there, words that are not
//! among those that there are, patterns that match nothing, prices that overlap.
//!
//! A reference to something that the document does not have at all may be to what the tenant has: only where the document lists services, say, must a
//! reference to a service be to one that it lists, and what it lists of that service. Whether a reference finds something in the tenant, the node says.

mod records;
mod words;

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use super::problem::Path;
use super::types::{Backend, Document, Metric, Service};

/// A problem and where it is.
pub(crate) type Told = (Path, String);

/// The longest name, in bytes, as everywhere in the catalog.
pub(super) const NAME_LEN_MAX: usize = 255;

/// All that is wrong with a document as a whole.
#[must_use]
pub(crate) fn problems(document: &Document) -> Vec<Told> {
    let mut checking = Checking { document, told: Vec::new(), known: HashMap::new() };
    records::document(&mut checking);
    checking.told
}

/// All that is wrong with a document that was never a text.
#[must_use]
pub fn check(document: &Document) -> Vec<super::Problem> {
    let told = problems(document).into_iter();
    told.map(|(path, problem)| super::Problem { spot: None, path: path.to_string(), problem }).collect()
}

struct Checking<'d> {
    document: &'d Document,
    told: Vec<Told>,
    /// Where names stand in lists, by where a list begins in memory: documents have so much that nothing is looked for twice.
    known: HashMap<usize, HashMap<String, usize>>,
}

impl<'d> Checking<'d> {
    fn tell(&mut self, path: Path, problem: impl Into<String>) {
        self.told.push((path, problem.into()));
    }

    /// Tells of names that are there twice. Blank ones are told of otherwise.
    fn unique<T: Hash + Eq>(
        &mut self,
        path: &Path,
        what: &str,
        names: impl Iterator<Item = (Option<T>, String)>,
    ) {
        let mut known = HashSet::new();
        for (at, (name, shown)) in names.enumerate() {
            let Some(name) = name else { continue };
            if !known.insert(name) {
                self.tell(path.at(at), format!("there is another {what} '{shown}' in this list"));
            }
        }
    }

    /// System names of a list; two that differ in case only are one.
    fn system_names(&mut self, path: &Path, what: &str, names: &[&str]) {
        for (at, name) in names.iter().enumerate() {
            if let Some(problem) = words::system_name(name) {
                self.tell(path.at(at).key("system_name"), problem);
            }
        }
        let keys = names
            .iter()
            .map(|name| (Some(name.to_lowercase()).filter(|it| !it.is_empty()), (*name).to_owned()));
        self.unique(path, what, keys);
    }

    /// A text of a record, if it is there: in one line, of so many bytes at most.
    fn line(&mut self, path: &Path, key: &str, text: Option<&String>, max: usize) {
        let Some(text) = text else { return };
        if text.len() > max {
            self.tell(path.key(key), format!("is too long: at most {max} bytes"));
        }
        if text.chars().any(char::is_control) {
            self.tell(path.key(key), "must be one line, without control characters");
        }
    }

    /// A word of a record, if it is there: one of those that there are.
    fn word(&mut self, path: &Path, key: &str, text: Option<&String>, words: &[&str]) {
        if let Some(text) = text.filter(|text| !words.contains(&text.as_str())) {
            self.tell(path.key(key), format!("'{text}' is none of {}", words.join(", ")));
        }
    }

    /// The first of a list whose names have this one among them.
    fn find<'a, T>(&mut self, list: &'a [T], names: impl Fn(&T) -> Vec<&str>, name: &str) -> Option<&'a T> {
        let known = self.known.entry(list.as_ptr() as usize).or_insert_with(|| {
            let mut known = HashMap::new();
            for (at, it) in list.iter().enumerate() {
                for name in names(it) {
                    known.entry(name.to_owned()).or_insert(at);
                }
            }
            known
        });
        known.get(name).and_then(|at| list.get(*at))
    }

    fn service(&mut self, name: &str) -> Option<&'d Service> {
        let services = self.document.services.as_deref()?;
        self.find(services, |it| vec![&it.system_name], name)
    }

    fn backend(&mut self, name: &str) -> Option<&'d Backend> {
        let backends = self.document.backends.as_deref()?;
        self.find(backends, |it| vec![&it.system_name], name)
    }

    /// Whether metrics that are listed have one of a name, or a method; yes, if none are listed.
    fn has_metric(&mut self, metrics: Option<&Vec<Metric>>, name: &str) -> bool {
        fn names(metric: &Metric) -> Vec<&str> {
            let methods = metric.methods.iter().flatten().map(|it| it.system_name.as_str());
            std::iter::once(metric.system_name.as_str()).chain(methods).collect()
        }
        let Some(metrics) = metrics else { return true };
        // Each service and backend has hits.
        name == "hits" || self.find(metrics, names, name).is_some()
    }

    /// A reference to a service. If the document lists services it must be to one of them.
    fn service_reference(&mut self, path: Path, name: &str) {
        if self.document.services.is_some() && self.service(name).is_none() && !name.is_empty() {
            self.tell(path, format!("there is no service '{name}' in this document"));
        }
    }

    fn backend_reference(&mut self, path: Path, name: &str) {
        if self.document.backends.is_some() && self.backend(name).is_none() {
            self.tell(path, format!("there is no backend '{name}' in this document"));
        }
    }
}

#[cfg(test)]
mod tests;
