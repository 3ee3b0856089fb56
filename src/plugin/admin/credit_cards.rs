//! The card that an account is charged on: `/accounts/{id}/credit_card`.
//!
//! What is kept is what a payment gateway calls the card, not the card: no number but its last digits, no code. Of that only whether there
//! is one, the last digits, and when it expires are ever shown; in the audit log the rest is `[redacted]`. What is kept stands for the
//! card in charging.

use serde_json::{Map, Value};

use super::account_details::{AccountDetails, CreditCard};
use super::accounts;
use super::answer::{Errors, Outcome, Refusal, Reply};
use super::auth::{Access, Members, Scope};
use super::check;
use super::context::Context;
use super::request::Fields;
use super::routes::{DELETE, PUT, Route};
use crate::model::draft::TEXT_LEN_MAX;

/// With either scope; which section a member must be allowed follows from the scope of the token.
const ACCESS: Access = Access::of(&[Scope::Finance, Scope::AccountManagement], Members::All);

pub(super) const ROUTES: &[Route] = &[
    Route::new(PUT, "accounts/{account_id}/credit_card", ACCESS, update),
    Route::new(DELETE, "accounts/{account_id}/credit_card", ACCESS, delete),
];

/// Parts of the billing address: those that must be sent, and the others.
const ADDRESS: [&str; 4] =
    ["billing_address_name", "billing_address_address", "billing_address_city", "billing_address_country"];
const ADDRESS_MORE: [&str; 3] = ["billing_address_state", "billing_address_phone", "billing_address_zip"];

/// The most digits of a card's number that may be kept.
const DIGITS_MAX: usize = 4;

fn update(context: &Context<'_>) -> Outcome {
    let fields = context.fields("account")?;
    let mut errors = Errors::default();
    let card = read(&fields, &mut errors)?;
    let id = context.id(0)?;
    context.change(|edit| {
        edit.seen().account(id)?;
        errors.check()?;
        let mut details = edit.records.find::<AccountDetails>(id)?.unwrap_or_default();
        (details.credit_card, details.updated_at) = (Some(card), edit.now);
        details.put(id, edit.caller.tenant.0, edit.records)?;
        accounts::answer(edit, id)
    })
}

/// The card that was sent.
fn read(fields: &Fields, errors: &mut Errors) -> Result<CreditCard, Refusal> {
    let mut text = |field: &str, text: String| {
        let text = text.trim().to_owned();
        check::fitting(errors, field, &text, TEXT_LEN_MAX);
        text
    };
    let token = text("credit_card_token", fields.needed("credit_card_token")?);
    let mut billing_address = Map::new();
    for field in ADDRESS {
        billing_address.insert(field.to_owned(), Value::from(text(field, fields.needed(field)?)));
    }
    for field in ADDRESS_MORE {
        if let Some(sent) = fields.filled(field) {
            billing_address.insert(field.to_owned(), Value::from(text(field, sent)));
        }
    }
    let mut optional = |field: &str| fields.filled(field).map(|sent| text(field, sent));
    let payment_profile_token = optional("credit_card_authorize_net_payment_profile_token");
    let payment_method_id = optional("payment_method_id");
    let partial_number = optional("credit_card_partial_number");
    if partial_number
        .as_ref()
        .is_some_and(|it| it.len() > DIGITS_MAX || !it.bytes().all(|it| it.is_ascii_digit()))
    {
        errors.add("credit_card_partial_number", check::INVALID);
    }
    let (year, month) = ("credit_card_expiration_year", "credit_card_expiration_month");
    fields.needed(year)?;
    fields.needed(month)?;
    Ok(CreditCard {
        token,
        payment_profile_token,
        payment_method_id,
        partial_number,
        expires_year: number(fields, year, 2000..=9999, errors),
        expires_month: number(fields, month, 1..=12, errors).try_into().unwrap_or(0),
        billing_address,
    })
}

fn number(fields: &Fields, field: &str, range: std::ops::RangeInclusive<u16>, errors: &mut Errors) -> u16 {
    let sent = fields.integer(field).flatten().and_then(|number| u16::try_from(number).ok());
    sent.filter(|number| range.contains(number)).unwrap_or_else(|| {
        errors.add(field, check::INVALID);
        0
    })
}

/// There is none afterwards, whether or not there was one.
fn delete(context: &Context<'_>) -> Outcome {
    let id = context.id(0)?;
    context.change(|edit| {
        edit.seen().account(id)?;
        let mut details = edit.records.find::<AccountDetails>(id)?.unwrap_or_default();
        if details.credit_card.take().is_some() {
            details.updated_at = edit.now;
            details.put(id, edit.caller.tenant.0, edit.records)?;
        }
        Ok(Reply::gone())
    })
}
