//! Products with what they count, as the migration comes by them: what they are called there, and here.

use std::collections::{BTreeSet, HashMap};

use super::super::{Record, id, text};

/// A product whose usage there may be.
#[derive(Clone, Debug)]
pub struct Product {
    /// Its number there.
    pub(super) id: u64,
    /// Its system name here.
    pub name: String,
    /// What it counts: each metric before its methods, its own before those of its backends.
    pub(super) metrics: Vec<Metric>,
    /// Its applications.
    pub callers: Vec<Caller>,
}

/// A metric or method.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Metric {
    /// Its number there.
    pub(super) id: u64,
    /// What it is asked for by there.
    pub(super) there: String,
    /// The backend (or none) that it is of, and what it is called, here.
    pub here: (Option<String>, String),
}

/// An application.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Its number there.
    pub(in crate::migrate) id: u64,
    /// Its application id here. Where callers have user keys nobody is shown it.
    pub application_id: String,
    /// What it calls with, if its product's callers have user keys.
    pub user_key: Option<String>,
}

/// What was come by.
#[derive(Default)]
pub(in crate::migrate) struct Counted {
    /// Metrics by what has them: `services/7` or `backend_apis/7`.
    metrics: HashMap<String, Vec<Metric>>,
    products: Vec<Product>,
}

impl Counted {
    /// Takes in a metric or method of what is at `root`, with what it is called here.
    pub(in crate::migrate) fn put_metric(
        &mut self,
        root: &str,
        record: &Record,
        (backend, name): (Option<&str>, &str),
    ) {
        let Some(shown) = text(record, "system_name") else { return };
        let suffix = root.strip_prefix("backend_apis/").map(|id| format!(".{id}"));
        let there = match suffix {
            // Asked for of a service it has the backend's id at its end, whether it is shown so or not.
            Some(suffix) if !shown.ends_with(&suffix) => format!("{shown}{suffix}"),
            _ => shown.to_owned(),
        };
        let here = (backend.map(str::to_owned), name.to_owned());
        self.metrics.entry(root.to_owned()).or_default().push(Metric { id: id(record), there, here });
    }

    /// Takes in a service, when its metrics and those of its backends are in.
    pub(in crate::migrate) fn put_product(&mut self, id: u64, name: &str, backends: &BTreeSet<u64>) {
        let backends = backends.iter().map(|id| format!("backend_apis/{id}"));
        let roots = std::iter::once(format!("services/{id}")).chain(backends);
        let metrics = roots.filter_map(|root| self.metrics.get(&root)).flatten().cloned().collect();
        self.products.push(Product { id, name: name.to_owned(), metrics, callers: Vec::new() });
    }

    /// The products with their applications, which are by ids of products.
    pub(in crate::migrate) fn by(self, mut callers: HashMap<u64, Vec<Caller>>) -> Vec<Product> {
        let mut products = self.products;
        products.iter_mut().for_each(|it| it.callers = callers.remove(&it.id).unwrap_or_default());
        products
    }
}
