//! What documents are made of: of each record its keys, and of each value what it may be. Reading, comparing and the types all go by this one description.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What a value may be.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A text.
    Text,
    /// A whole number from the first to the second.
    Whole(i64, u64),
    /// A decimal, as a number or a text; kept as a text.
    Amount,
    /// True or false.
    Flag,
    /// `secret: NAME`.
    Secret,
    /// A text, or `secret: NAME`.
    TextOrSecret,
    /// Any record: what it means is for others.
    Free,
    /// A list of these.
    List(fn() -> Kind),
    /// A record with these keys.
    Record(&'static Shape),
}

/// A kind of record.
#[derive(Debug)]
pub struct Shape {
    /// What one is called in words.
    pub label: &'static str,
    /// The keys that tell one from another of its list; none, if lists of it are values.
    pub names: &'static [&'static str],
    /// All keys, in their order.
    pub keys: &'static [Key],
}

/// A key of a record.
#[derive(Debug)]
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// Whether it must be there.
    pub needed: bool,
    /// What its value may be.
    pub kind: fn() -> Kind,
}

impl Shape {
    /// The key of that name.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

impl Kind {
    /// The shape of the records of a list, if they have names.
    #[must_use]
    pub fn named(self) -> Option<&'static Shape> {
        let Kind::List(item) = self else { return None };
        match item() {
            Kind::Record(shape) if !shape.names.is_empty() => Some(shape),
            _ => None,
        }
    }
}

/// A type that documents are made of.
pub trait Part {
    /// Whether it must be there.
    const NEEDED: bool = true;

    /// What it may be.
    fn kind() -> Kind;

    /// Whether it is not there.
    fn is_left_out(&self) -> bool {
        false
    }
}

impl Part for String {
    fn kind() -> Kind {
        Kind::Text
    }
}

impl Part for bool {
    fn kind() -> Kind {
        Kind::Flag
    }
}

impl Part for u16 {
    fn kind() -> Kind {
        Kind::Whole(0, u64::from(u16::MAX))
    }
}

impl Part for u32 {
    fn kind() -> Kind {
        Kind::Whole(0, u64::from(u32::MAX))
    }
}

impl Part for u64 {
    fn kind() -> Kind {
        Kind::Whole(0, u64::MAX)
    }
}

impl<T: Part> Part for Option<T> {
    const NEEDED: bool = false;

    fn kind() -> Kind {
        T::kind()
    }

    fn is_left_out(&self) -> bool {
        self.is_none()
    }
}

impl<T: Part> Part for Vec<T> {
    fn kind() -> Kind {
        Kind::List(T::kind)
    }
}

/// A record of whatever keys.
pub type Free = Map<String, Value>;

impl Part for Free {
    fn kind() -> Kind {
        Kind::Free
    }
}

/// A decimal, as it is written: never a float.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize, Debug)]
#[serde(transparent)]
pub struct Amount(pub String);

impl Part for Amount {
    fn kind() -> Kind {
        Kind::Amount
    }
}

/// Stands for a secret: its name in the document of secrets.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize, Debug)]
pub struct Secret {
    /// Its name.
    pub secret: String,
}

impl Part for Secret {
    fn kind() -> Kind {
        Kind::Secret
    }
}

/// A text that may hold a credential, as a URL may, and stands here only if it holds none.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(untagged)]
#[allow(missing_docs)]
pub enum TextOrSecret {
    Secret(Secret),
    Text(String),
}

impl Default for TextOrSecret {
    fn default() -> Self {
        TextOrSecret::Text(String::new())
    }
}

impl Part for TextOrSecret {
    fn kind() -> Kind {
        Kind::TextOrSecret
    }
}

/// A record of a document: the type, and its [`Shape`].
macro_rules! record {
    ($(#[$about:meta])* $name:ident $label:literal [$($by:literal),*] {
        $($(#[$about_key:meta])* $key:ident: $type:ty,)*
    }) => {
        $(#[$about])*
        #[derive(Clone, PartialEq, Default, serde::Serialize, serde::Deserialize, Debug)]
        #[serde(default)]
        pub struct $name {
            $($(#[$about_key])* #[serde(skip_serializing_if = "Part::is_left_out")] pub $key: $type,)*
        }

        impl $name {
            /// Its keys, and what is known of it otherwise.
            pub const SHAPE: &'static Shape = &Shape {
                label: $label,
                names: &[$($by),*],
                keys: &[$(Key {
                    name: stringify!($key),
                    needed: <$type as Part>::NEEDED,
                    kind: <$type as Part>::kind,
                }),*],
            };
        }

        impl Part for $name {
            fn kind() -> Kind {
                Kind::Record($name::SHAPE)
            }
        }
    };
}

pub(super) use record;
