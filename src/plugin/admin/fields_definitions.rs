//! Fields that a tenant's accounts, users and applications have: `/fields_definitions`.
//!
//! A definition that names one of the fields that a record has anyway says how it is shown; the others are fields of the
//! tenant's own, which areas keep and show with the record once they are defined: their names are claimed as
//! [`Kind::Field`] under target, slash, name. The definitions of a target have positions from 1, without a gap.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::{Entity, Errors, Outcome, Refusal, Reply};
use super::auth::{Access, Section};
use super::check;
use super::context::{Context, Edit, Seen};
use super::names::{self, Kind};
use super::owned::Owned;
use super::request::Fields;
use super::routes::{DELETE, GET, POST, PUT, Route};
use super::times;
use super::xml::Element;
use crate::document::values;
use crate::model::catalog::Change;
use crate::model::draft::Draft;
use crate::plugin::host::Accompanied;
use crate::plugin::records::{Record, Records};
use crate::store::ShelfError;
use crate::store::shelf::Table;

const ACCESS: Access = Access::section(Section::Settings);

pub(super) const ROUTES: &[Route] = &[
    Route::new(GET, "fields_definitions", ACCESS, list),
    Route::new(POST, "fields_definitions", ACCESS, create),
    Route::new(GET, "fields_definitions/{id}", ACCESS, show),
    Route::new(PUT, "fields_definitions/{id}", ACCESS, update),
    Route::new(DELETE, "fields_definitions/{id}", ACCESS, delete),
];

/// What fields can be of: 3scale's names, in the order of lists.
const TARGETS: [&str; 3] = ["Account", "User", "Cinstance"];

/// Those that each tenant begins with: target, name, label.
const BUILTIN: [(&str, &str, &str); 5] = [
    ("Account", "org_name", "Organization/Group Name"),
    ("User", "username", "Username"),
    ("User", "email", "Email"),
    ("Cinstance", "name", "Name"),
    ("Cinstance", "description", "Description"),
];

/// The most definitions of a tenant.
pub(super) const DEFINITIONS_MAX: usize = 300;
/// The most choices of a field.
pub(super) const CHOICES_MAX: usize = 500;

/// A field that records of a kind have.
#[derive(Clone, Serialize, Deserialize, Debug)]
pub(super) struct Definition {
    tenant: u64,
    pub(super) target: String,
    pub(super) name: String,
    pub(super) label: String,
    pub(super) required: bool,
    pub(super) hidden: bool,
    pub(super) read_only: bool,
    pub(super) choices: Vec<String>,
    /// From 1 within the target.
    position: u64,
    /// In milliseconds since 1970 UTC.
    created_at: u64,
    updated_at: u64,
}

impl Record for Definition {
    const TABLE: Table = Table("fields_definitions");
}

impl Owned for Definition {
    const BY_OWNER: Table = Table("fields_definitions_by_tenant");

    fn owners(&self) -> Vec<u64> {
        vec![self.tenant]
    }
}

impl Definition {
    /// The definitions of a tenant, in the order of lists.
    pub(super) fn in_order(tenant: u64, records: &Records<'_>) -> Result<Vec<(u64, Definition)>, ShelfError> {
        let mut found = Definition::of(tenant, records)?;
        let target = |definition: &Definition| TARGETS.iter().position(|it| *it == definition.target);
        found.sort_by_key(|(id, definition)| (target(definition), definition.position, *id));
        Ok(found)
    }

    /// Whether a value is among its choices, if it has any.
    pub(super) fn can_be(&self, value: &str) -> bool {
        self.choices.is_empty() || self.choices.iter().any(|choice| choice == value)
    }

    fn is_builtin(&self) -> bool {
        BUILTIN.iter().any(|(target, name, _)| *target == self.target && *name == self.name)
    }

    /// The name that it has among names.
    fn key(&self) -> String {
        format!("{}/{}", self.target, self.name)
    }
}

/// Gives a new tenant the definitions that each begins with.
pub(super) fn begin(
    draft: &mut Draft<'_>,
    records: &mut Records<'_>,
    tenant: u64,
    now: u64,
) -> Result<(), ShelfError> {
    for (target, name, label) in BUILTIN {
        let before = BUILTIN.iter().take_while(|it| it.1 != name).filter(|it| it.0 == target).count();
        let definition = Definition {
            tenant,
            target: target.to_owned(),
            name: name.to_owned(),
            label: label.to_owned(),
            required: true,
            hidden: false,
            read_only: false,
            choices: Vec::new(),
            position: before as u64 + 1,
            created_at: now,
            updated_at: now,
        };
        let id = draft.take_id();
        names::claim(records, Kind::Field, tenant, &definition.key(), id)?;
        definition.put(id, records)?;
    }
    Ok(())
}

fn find(seen: Seen<'_>, id: u64) -> Result<Definition, Refusal> {
    let found = seen.records.find::<Definition>(id)?;
    found.filter(|it| it.tenant == seen.caller.tenant.0).ok_or(Refusal::NotFound)
}

fn list(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let all = Definition::in_order(context.caller.tenant.0, moment.seen().records)?;
    let page = context.page_if_asked(all.len());
    let shown = page.cut(all).into_iter().map(|(id, definition)| Ok(entity(id, &definition)));
    Reply::page(context.format, "fields_definitions", shown, page)
}

fn show(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let id = context.id(0)?;
    Ok(Reply::one(entity(id, &find(moment.seen(), id)?)))
}

fn create(context: &Context<'_>) -> Outcome {
    let fields = context.fields("fields_definition")?;
    context.change(|edit| {
        let tenant = edit.tenant().0;
        let mut errors = Errors::default();
        if Definition::count(tenant, edit.records)? >= DEFINITIONS_MAX {
            errors.add("base", format!("there are at most {DEFINITIONS_MAX} fields definitions"));
        }
        let mut definition = Definition {
            tenant,
            target: fields.filled("target").unwrap_or_default(),
            name: fields.text("name").unwrap_or_default().trim().to_owned(),
            label: String::new(),
            required: false,
            hidden: false,
            read_only: false,
            choices: Vec::new(),
            position: 0,
            created_at: edit.now,
            updated_at: edit.now,
        };
        check::present(&mut errors, "name", Some(&definition.name));
        if !definition.name.is_empty() && !values::is_field_name(&definition.name) {
            errors.add("name", check::INVALID);
        }
        if !fields.has("label") {
            errors.add("label", check::BLANK);
        }
        read(&mut definition, &fields, &mut errors);
        let id = edit.draft.take_id();
        if !names::claim(edit.records, Kind::Field, tenant, &definition.key(), id)? {
            errors.add("name", check::TAKEN);
        }
        errors.check()?;
        place(edit, id, definition, u64::MAX)?;
        let entity = entity(id, &find(edit.seen(), id)?);
        Ok(Reply::created(entity).at(format!("/admin/api/fields_definitions/{id}")))
    })
}

/// Takes over what was sent, but for the name, which is given once, and the position.
fn read(definition: &mut Definition, fields: &Fields, errors: &mut Errors) {
    if let Some(target) = fields.text("target") {
        definition.target = target;
    }
    if !TARGETS.contains(&definition.target.as_str()) {
        errors.add("target", check::NOT_LISTED);
    }
    if let Some(label) = fields.text("label") {
        check::present(errors, "label", Some(&label));
        label.trim().clone_into(&mut definition.label);
    }
    for (field, flag) in [
        ("required", &mut definition.required),
        ("hidden", &mut definition.hidden),
        ("read_only", &mut definition.read_only),
    ] {
        *flag = fields.flag(field).unwrap_or(*flag);
    }
    if let Some(choices) = choices_of(fields) {
        if choices.len() > CHOICES_MAX {
            errors.add("choices", format!("are too many (maximum is {CHOICES_MAX})"));
        }
        choices.iter().for_each(|choice| check::fitting(errors, "choices", choice, 255));
        definition.choices = choices;
    }
}

/// A list, or a text with commas.
fn choices_of(fields: &Fields) -> Option<Vec<String>> {
    match fields.value("choices")? {
        Value::String(text) => {
            Some(text.split(',').map(|it| it.trim().to_owned()).filter(|it| !it.is_empty()).collect())
        }
        _ => fields.texts("choices"),
    }
}

/// Puts a definition at a position among those of its target, as far as there are so many, and numbers all of them anew.
fn place(
    edit: &mut Edit<'_, '_, '_>,
    id: u64,
    definition: Definition,
    position: u64,
) -> Result<(), ShelfError> {
    let tenant = definition.tenant;
    let target = definition.target.clone();
    definition.put(id, edit.records)?;
    let mut all = Definition::in_order(tenant, edit.records)?;
    all.retain(|(other, _)| *other != id);
    let same = |it: &(u64, Definition)| it.1.target == target;
    let first = all.iter().position(same).unwrap_or(all.len());
    let others = all.iter().filter(|it| same(it)).count();
    let before = usize::try_from(position.max(1) - 1).unwrap_or(usize::MAX).min(others);
    all.insert(first + before, (id, definition));
    number(edit.records, all)
}

/// Gives each definition, in this order, its position within its target.
fn number(records: &mut Records<'_>, all: Vec<(u64, Definition)>) -> Result<(), ShelfError> {
    let mut next = [1u64; TARGETS.len()];
    for (id, mut definition) in all {
        let target = TARGETS.iter().position(|it| *it == definition.target).unwrap_or(0);
        let position = next[target];
        next[target] += 1;
        if definition.position != position {
            definition.position = position;
            records.save(id, &definition)?;
        }
    }
    Ok(())
}

fn update(context: &Context<'_>) -> Outcome {
    let fields = context.fields("fields_definition")?;
    let id = context.id(0)?;
    context.change(|edit| {
        let before = find(edit.seen(), id)?;
        let mut definition = before.clone();
        let mut errors = Errors::default();
        read(&mut definition, &fields, &mut errors);
        let position = fields.integer("position");
        if position.is_some_and(|it| it.is_none_or(|number| number < 1)) {
            errors.add("position", check::INVALID);
        }
        if definition.target != before.target {
            if before.is_builtin() {
                errors.add("target", check::INVALID);
            }
            names::release(edit.records, Kind::Field, before.tenant, &before.key(), id)?;
            if !names::claim(edit.records, Kind::Field, before.tenant, &definition.key(), id)? {
                errors.add("name", check::TAKEN);
            }
        }
        errors.check()?;
        definition.updated_at = edit.now;
        let position = position.flatten().and_then(|number| u64::try_from(number).ok());
        let same = Some(definition.position).filter(|_| definition.target == before.target);
        let position = position.or(same).unwrap_or(u64::MAX);
        place(edit, id, definition, position)?;
        Ok(Reply::one(entity(id, &find(edit.seen(), id)?)))
    })
}

/// What a record has anyway cannot be defined away.
fn delete(context: &Context<'_>) -> Outcome {
    let id = context.id(0)?;
    context.change(|edit| {
        let definition = find(edit.seen(), id)?;
        if definition.is_builtin() {
            return Err(Refusal::Undeletable(Errors::of("base", "a built-in field cannot be deleted")));
        }
        remove(id, &definition, edit.records)?;
        let left = Definition::in_order(definition.tenant, edit.records)?;
        number(edit.records, left)?;
        Ok(Reply::gone())
    })
}

fn remove(id: u64, definition: &Definition, records: &mut Records<'_>) -> Result<(), ShelfError> {
    names::release(records, Kind::Field, definition.tenant, &definition.key(), id)?;
    definition.delete(id, records);
    Ok(())
}

fn entity(id: u64, definition: &Definition) -> Entity {
    let json = json!({
        "id": id,
        "target": definition.target,
        "name": definition.name,
        "label": definition.label,
        "required": definition.required,
        "hidden": definition.hidden,
        "read_only": definition.read_only,
        "choices": definition.choices,
        "position": definition.position,
        "created_at": times::text(definition.created_at),
        "updated_at": times::text(definition.updated_at),
    });
    let mut choices = Element::new("choices");
    definition.choices.iter().for_each(|choice| choices.push(Element::text("choice", choice)));
    let xml = Element::new("fields_definition")
        .field("id", id)
        .field("created_at", times::text(definition.created_at))
        .field("updated_at", times::text(definition.updated_at))
        .field("account_id", definition.tenant)
        .field("target", &definition.target)
        .field("name", &definition.name)
        .field("label", &definition.label)
        .field("required", definition.required)
        .field("hidden", definition.hidden)
        .field("read_only", definition.read_only)
        .with(choices)
        .field("pos", definition.position);
    Entity { wrapper: "fields_definition", json, xml }
}

/// They go with their tenant.
pub(super) fn accompany(
    accompanied: &Accompanied<'_>,
    records: &mut Records<'_>,
    _: u64,
) -> Result<(), ShelfError> {
    for change in accompanied.changes {
        if let Change::DeleteTenant(tenant) = change {
            for (id, definition) in Definition::in_order(tenant.0, records)? {
                remove(id, &definition, records)?;
            }
        }
    }
    Ok(())
}
