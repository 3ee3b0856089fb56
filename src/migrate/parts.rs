//! A migration in parts: what is too much for one command comes in several, products first and then accounts. Each is a document of its own, and done again it
//! changes nothing: whoever is stopped between two begins again.

use serde_json::Value;

use super::Migration;
use crate::document::types::Account;
use crate::document::{Document, Secrets, render};

/// How much comes at once.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Accounts, users, subscriptions and applications. One account is never parted, and neither are those of one name.
    pub records: usize,
    /// The document with its secrets, in bytes.
    pub bytes: usize,
}

/// What comes at once.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Part {
    pub document: Document,
    /// Those that it names.
    pub secrets: Secrets,
}

/// How much an account is, or several are.
#[derive(Clone, Copy, Default)]
struct Weight {
    records: usize,
    bytes: usize,
}

impl Weight {
    fn of(account: &Account, secrets: &Secrets) -> Weight {
        let count = |list: Option<usize>| list.unwrap_or(0);
        let lists = [
            count(account.users.as_ref().map(Vec::len)),
            count(account.subscriptions.as_ref().map(Vec::len)),
            count(account.applications.as_ref().map(Vec::len)),
        ];
        let value = serde_json::to_value(account).unwrap_or_default();
        let mut bytes = value.to_string().len();
        each_secret(&value, &mut |name| bytes += name.len() + secrets.get(name).map_or(0, str::len));
        Weight { records: 1 + lists.iter().sum::<usize>(), bytes }
    }

    fn and(self, other: Weight) -> Weight {
        Weight { records: self.records + other.records, bytes: self.bytes + other.bytes }
    }

    fn is_within(self, bounds: &Bounds) -> bool {
        self.records <= bounds.records && self.bytes <= bounds.bytes
    }
}

impl Migration {
    /// What comes at once, in the order in which it must: one part, if that is within the bounds.
    #[must_use]
    pub fn parts(self, bounds: &Bounds) -> Vec<Part> {
        let Migration { mut document, secrets, .. } = self;
        let bytes = render::render(&document).len() + secrets.render().len();
        let accounts = document.accounts.iter().flatten();
        let records = accounts.map(|it| Weight::of(it, &secrets).records).sum();
        if (Weight { records, bytes }).is_within(bounds) {
            return vec![Part { document, secrets }];
        }
        let accounts = document.accounts.take().unwrap_or_default();
        let mut parts = vec![part(document, &secrets)];
        for accounts in together(accounts, &secrets, bounds) {
            parts.push(part(Document { accounts: Some(accounts), ..Document::empty() }, &secrets));
        }
        parts
    }
}

/// Accounts in lists of such a weight, or of one name where those alone are more. They are sorted by name.
fn together(accounts: Vec<Account>, secrets: &Secrets, bounds: &Bounds) -> Vec<Vec<Account>> {
    let mut lists: Vec<Vec<Account>> = Vec::new();
    let mut whole = Weight::default();
    let mut accounts = accounts.into_iter().peekable();
    while let Some(first) = accounts.next() {
        // Which of a name it is says its place among all of them.
        let mut of_name = vec![first];
        while let Some(next) =
            accounts.next_if(|next| of_name.first().is_some_and(|it| it.org_name == next.org_name))
        {
            of_name.push(next);
        }
        let weight = of_name.iter().fold(Weight::default(), |sum, it| sum.and(Weight::of(it, secrets)));
        match lists.last_mut().filter(|_| whole.and(weight).is_within(bounds)) {
            Some(list) => {
                list.append(&mut of_name);
                whole = whole.and(weight);
            }
            None => {
                lists.push(of_name);
                whole = weight;
            }
        }
    }
    lists
}

/// A document with those of the secrets that it names.
fn part(document: Document, secrets: &Secrets) -> Part {
    let mut own = Secrets::default();
    each_secret(&serde_json::to_value(&document).unwrap_or_default(), &mut |name| {
        if let Some(value) = secrets.get(name) {
            own.put(name, value);
        }
    });
    Part { document, secrets: own }
}

/// Goes through the names of secrets.
fn each_secret(value: &Value, with: &mut impl FnMut(&str)) {
    match value {
        Value::Object(record) => match record.get("secret") {
            Some(Value::String(name)) if record.len() == 1 => with(name),
            _ => record.values().for_each(|it| each_secret(it, with)),
        },
        Value::Array(items) => items.iter().for_each(|it| each_secret(it, with)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::read::read;
    use crate::document::types::{Application, Service};

    const ANY: usize = usize::MAX;

    /// One service and these accounts, each with one application whose key is a secret.
    fn migration(names: &[&str]) -> Migration {
        let mut secrets = Secrets::default();
        secrets.put("service", "s");
        let mut secret = |name: String| {
            secrets.put(&name, "value");
            crate::document::shape::Secret { secret: name }
        };
        let mut accounts: Vec<Account> = Vec::new();
        for (at, name) in names.iter().enumerate() {
            let ordinal = 1 + accounts.iter().filter(|it| it.org_name == *name).count() as u32;
            let application = Application {
                service: "weather".into(),
                application_id: format!("app-{at}"),
                user_key: Some(secret(format!("key-{at}"))),
                ..Application::default()
            };
            accounts.push(Account {
                org_name: (*name).to_owned(),
                ordinal: Some(ordinal).filter(|it| *it > 1),
                applications: Some(vec![application]),
                ..Account::default()
            });
        }
        let service = Service {
            system_name: "weather".into(),
            tokens: Some(vec![secret("service".into())]),
            ..Service::default()
        };
        let mut document =
            Document { services: Some(vec![service]), accounts: Some(accounts), ..Document::empty() };
        document.make_canonical();
        Migration { document, secrets, notes: Vec::new(), products: Vec::new() }
    }

    fn names(part: &Part) -> Vec<&str> {
        part.document.accounts.iter().flatten().map(|it| it.org_name.as_str()).collect()
    }

    #[test]
    fn what_is_within_the_bounds_comes_at_once_and_one_more_does_not() {
        let bytes = |it: &Migration| render::render(&it.document).len() + it.secrets.render().len();
        let all = ["a", "b", "c"];
        for (bounds, count) in [
            (Bounds { records: 6, bytes: ANY }, 1),
            // Each account is two records with its application.
            (Bounds { records: 5, bytes: ANY }, 1 + 2),
            (Bounds { records: 3, bytes: ANY }, 1 + 3),
            (Bounds { records: 1, bytes: ANY }, 1 + 3),
            (Bounds { records: ANY, bytes: bytes(&migration(&all)) }, 1),
            (Bounds { records: ANY, bytes: 1 }, 1 + 3),
        ] {
            assert_eq!(migration(&all).parts(&bounds).len(), count, "{bounds:?}");
        }
        let bytes = bytes(&migration(&all)) - 1;
        assert!(migration(&all).parts(&Bounds { records: ANY, bytes }).len() > 1);
    }

    #[test]
    fn parts_are_documents_of_their_own_and_together_what_there_was() {
        let all = ["a", "b", "b", "b", "c", "d", "e"];
        let whole = migration(&all);
        let parts = migration(&all).parts(&Bounds { records: 4, bytes: ANY });
        let expected: [&[&str]; 5] = [&[], &["a"], &["b", "b", "b"], &["c", "d"], &["e"]];
        assert_eq!(parts.iter().map(names).collect::<Vec<_>>(), expected, "those of one name stay together");
        let mut secrets = Secrets::default();
        for part in &parts {
            let read = read(&render::render(&part.document));
            assert_eq!(read.as_ref(), Ok(&part.document));
            part.secrets.iter().for_each(|(name, value)| secrets.put(name, value));
        }
        assert_eq!((secrets, parts[0].secrets.len()), (whole.secrets, 1));
        assert_eq!(
            (&parts[0].document.accounts, &parts[0].document.services),
            (&None, &whole.document.services)
        );
        let accounts: Vec<_> =
            parts.into_iter().flat_map(|it| it.document.accounts.unwrap_or_default()).collect();
        assert_eq!(Some(accounts), whole.document.accounts);
    }
}
