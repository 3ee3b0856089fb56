//! Money: decimals, never floats, except where answers of the original show floats.

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde_json::Value;

use super::answer::Errors;
use super::check;

/// The most that a price or fee can be: what the original's columns hold.
const AMOUNT_MAX: Decimal = Decimal::from_parts(1_874_919_423, 2_328_306, 0, false, 0);

/// The digits after the point that are kept.
pub(super) const SCALE_MAX: u32 = 4;

/// An amount that is not negative, as it was sent; what cannot be one is said. More digits than are kept are rounded.
pub(super) fn amount(errors: &mut Errors, field: &str, text: &str) -> Option<Decimal> {
    let text = text.trim();
    let parsed = text.parse::<Decimal>().or_else(|_| Decimal::from_scientific(text));
    let Ok(amount) = parsed else {
        errors.add(field, check::NOT_A_NUMBER);
        return None;
    };
    if amount.is_sign_negative() && !amount.is_zero() {
        errors.add(field, "must be greater than or equal to 0");
    } else if amount > AMOUNT_MAX {
        errors.add(field, format!("must be less than or equal to {AMOUNT_MAX}"));
    } else {
        return Some(amount.round_dp(SCALE_MAX).abs());
    }
    None
}

/// As a float, for fields that the original shows as such.
pub(super) fn float(amount: Decimal) -> Value {
    Value::from(amount.to_f64().unwrap_or_default())
}

/// As a text, with one digit after the point at least: `20.0`.
pub(super) fn text(amount: Decimal) -> String {
    let text = amount.normalize().to_string();
    if text.contains('.') { text } else { format!("{text}.0") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_exactly_and_shown_as_the_original_does() {
        let read = |text: &str| {
            let mut errors = Errors::default();
            (amount(&mut errors, "cost", text), errors.is_empty())
        };
        let good = |sent: &str| read(sent).0.map(text).unwrap();
        assert_eq!(
            (good("20"), good("0.0300"), good(" 1e2 ")),
            ("20.0".into(), "0.03".into(), "100.0".into())
        );
        assert_eq!(good("1.23456"), "1.2346");
        assert_eq!(good("9999999999999999"), "9999999999999999.0");
        for bad in ["-1", "ten", "", "99999999999999999", "0x10"] {
            assert_eq!(read(bad), (None, false), "{bad}");
        }
        assert_eq!(float(good("12").parse().unwrap()).to_string(), "12.0");
    }
}
