//! What is not shown of records in the audit log: secrets, by the names of their fields, and credentials in URLs.

use serde_json::{Map, Value};

/// What stands in place of a secret.
pub(super) const REDACTED: &str = "[redacted]";

/// Whether a field of that name holds a secret.
fn is_secret(field: &str) -> bool {
    const WHOLE: [&str; 10] = [
        "key",
        "keys",
        "app_keys",
        "user_keys",
        "provider_keys",
        "tokens",
        "hash",
        "payment_method_id",
        // What a tenant was to be told has its record's keys.
        "event",
        // Nobody's secret, but whose card it is is nothing for a log.
        "billing_address",
    ];
    const PARTS: [&str; 7] =
        ["secret", "password", "token", "user_key", "app_key", "application_key", "authentication_value"];
    // What a gateway sends a key in is no key.
    WHOLE.contains(&field)
        || PARTS.iter().any(|part| field.contains(part))
            && !["auth_", "error_"].iter().any(|it| field.starts_with(it))
}

/// Fields without their secrets.
pub(super) fn redacted(fields: Map<String, Value>) -> Map<String, Value> {
    let field = |(field, value): (String, Value)| {
        let value = if is_secret(&field) { hidden(value) } else { shown(value) };
        (field, value)
    };
    fields.into_iter().map(field).collect()
}

/// How many secrets there are may be seen, and whether there are any.
fn hidden(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(hidden).collect(),
        Value::Null | Value::Bool(_) => value,
        _ => REDACTED.into(),
    }
}

fn shown(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(redacted(fields)),
        Value::Array(items) => items.into_iter().map(shown).collect(),
        Value::String(text) => Value::String(without_credentials(text)),
        other => other,
    }
}

/// A URL without the user and password in it.
fn without_credentials(text: String) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match authority.rfind('@') {
        Some(at) => format!("{scheme}://{REDACTED}{}", &rest[at..]),
        None => text,
    }
}
