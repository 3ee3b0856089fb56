//! Fields that a tenant has defined beyond those that records have anyway: kept and shown with the record, as texts.

use serde_json::{Map, Value};

use super::names::{self, Kind};
use super::request::{Fields, text_of};
use super::xml::Element;
use crate::plugin::records::Records;
use crate::store::ShelfError;

/// What a defined field is a field of: 3scale's names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub(super) enum Target {
    Account,
    User,
    Application,
}

impl Target {
    /// 3scale's name of it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Target::Account => "Account",
            Target::User => "User",
            Target::Application => "Cinstance",
        }
    }

    /// The name that a field of it has among names.
    pub(super) fn field(self, name: &str) -> String {
        format!("{}/{name}", self.name())
    }
}

/// The longest value, in bytes.
const VALUE_LEN_MAX: usize = 4096;

/// Takes over what was sent of defined fields; `own` are those that the record has anyway.
pub(super) fn apply(
    extra: &mut Map<String, Value>,
    records: &Records<'_>,
    tenant: u64,
    target: Target,
    fields: &Fields,
    own: &[&str],
) -> Result<(), ShelfError> {
    for (name, value) in fields.iter().filter(|(name, _)| !own.contains(&name.as_str())) {
        let Some(text) = text_of(value).filter(|text| text.len() <= VALUE_LEN_MAX) else { continue };
        if names::find(records, Kind::Field, tenant, &target.field(name))?.is_some() {
            extra.insert(name.clone(), Value::from(text));
        }
    }
    Ok(())
}

/// Adds them to a record in JSON.
pub(super) fn show(extra: &Map<String, Value>, json: &mut Value) {
    if let Some(object) = json.as_object_mut() {
        for (name, value) in extra {
            object.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
}

/// They in XML.
pub(super) fn element(extra: &Map<String, Value>) -> Element {
    let mut element = Element::new("extra_fields");
    for (name, value) in extra {
        element.push(Element::text(name, text_of(value).unwrap_or_default()));
    }
    element
}
