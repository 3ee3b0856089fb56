//! Fields that a tenant has defined beyond those that records have anyway: kept and shown with the record, as texts.
//!
//! A field with choices takes one of them, or nothing; a value that was good when it was set stays. What else a definition says is
//! about developers, who have the portal before them: there a `required` field must be filled in, one that is `read_only` cannot be changed, and one that
//! is `hidden` is not shown. The admin API is the tenant's own hand, as in the original: it reads and writes all of them, and leaves out what
//! it likes.

use serde_json::{Map, Value};

use super::answer::Errors;
use super::check;
use super::fields_definitions::Definition;
use super::names::{self, Kind};
use super::request::{Fields, text_of};
use super::xml::Element;
use crate::document::values::FIELD_VALUE_LEN_MAX;
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

    /// The fields that such a record has anyway, and those that follow from others.
    fn own(self) -> &'static [&'static str] {
        match self {
            Target::Account => &["org_name", "id", "state", "created_at", "updated_at", "vat_rate"],
            Target::User => &["username", "email", "password"],
            Target::Application => {
                &["name", "description", "state", "id", "plan_id", "account_id", "service_id"]
            }
        }
    }

    /// The name that a field of it has among names.
    pub(super) fn field(self, name: &str) -> String {
        format!("{}/{name}", self.name())
    }
}

/// The most bytes of all of them of one record, with their names, as JSON has them: the original's.
pub(super) const ALL_LEN_MAX: usize = 65_535;

/// Takes over what was sent of the fields that a tenant has defined.
pub(super) fn apply(
    extra: &mut Map<String, Value>,
    records: &Records<'_>,
    (tenant, target): (u64, Target),
    fields: &Fields,
    errors: &mut Errors,
) -> Result<(), ShelfError> {
    let mut is_changed = false;
    for (name, value) in fields.iter().filter(|(name, _)| !target.own().contains(&name.as_str())) {
        let Some(text) = text_of(value) else { continue };
        let Some(id) = names::find(records, Kind::Field, tenant, &target.field(name))? else { continue };
        // Names that differ in case only cannot both be defined, but are not the same field, as in the original.
        let definition = records.find::<Definition>(id)?.filter(|it| it.name == *name);
        let Some(definition) = definition else { continue };
        // Clients send back what they were shown: that stays good, whatever can be chosen now.
        if extra.get(name).and_then(Value::as_str) == Some(&text) {
            continue;
        }
        check::long(errors, name, &text, FIELD_VALUE_LEN_MAX);
        if !text.is_empty() && !definition.can_be(&text) {
            errors.add(name, check::NOT_LISTED);
        }
        extra.insert(name.clone(), Value::from(text));
        is_changed = true;
    }
    if is_changed && Value::Object(extra.clone()).to_string().len() > ALL_LEN_MAX {
        errors.add(
            "base",
            format!("the fields that are defined are too long (maximum is {ALL_LEN_MAX} bytes)"),
        );
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
