//! Passwords: kept as argon2id, in the PHC form, so that whoever has the shelf has no passwords.
//!
//! A hash takes 19 MiB and some tens of milliseconds, by intent: at most two are made at once, whoever asks for more waits. None is made while a
//! command is held up for it.

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use parking_lot::{Condvar, Mutex};

use super::answer::{Errors, Refusal};

/// What the original asks for at least.
const PASSWORD_LEN_MIN: usize = 6;
/// More is no better password, and takes longer to hash.
const PASSWORD_LEN_MAX: usize = 255;

/// How many hashes are made at once.
const AT_ONCE_MAX: u32 = 2;
static AT_WORK: Mutex<u32> = Mutex::new(0);
static DONE: Condvar = Condvar::new();

/// A place among those who hash.
struct Place;

impl Place {
    fn wait_for() -> Place {
        let mut at_work = AT_WORK.lock();
        while *at_work >= AT_ONCE_MAX {
            DONE.wait(&mut at_work);
        }
        *at_work += 1;
        Place
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *AT_WORK.lock() -= 1;
        DONE.notify_one();
    }
}

/// Whether a password is long enough, and not longer than needed.
pub(super) fn check(errors: &mut Errors, password: &str) {
    if password.chars().count() < PASSWORD_LEN_MIN {
        errors.add("password", format!("is too short (minimum is {PASSWORD_LEN_MIN} characters)"));
    }
    if password.len() > PASSWORD_LEN_MAX {
        errors.add("password", format!("is too long (maximum is {PASSWORD_LEN_MAX} characters)"));
    }
}

/// The hash that a password is kept as, with a salt of its own.
///
/// # Errors
/// The system gives no random bytes, or no memory.
pub(super) fn hash(password: &str) -> Result<String, Refusal> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|_| Refusal::Failed)?;
    let hash = hash_with(password, &salt).ok_or(Refusal::Failed)?;
    let (m, t, p) = (Params::DEFAULT_M_COST, Params::DEFAULT_T_COST, Params::DEFAULT_P_COST);
    let (salt, hash) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash));
    Ok(format!("$argon2id$v=19$m={m},t={t},p={p}${salt}${hash}"))
}

fn hash_with(password: &str, salt: &[u8]) -> Option<[u8; 32]> {
    let _place = Place::wait_for();
    let mut hash = [0; 32];
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::default());
    argon.hash_password_into(password.as_bytes(), salt, &mut hash).ok()?;
    Some(hash)
}

/// The most that a hash that came from elsewhere may ask of who verifies it: memory in KiB, passes and lanes.
const COSTS_MAX: [u32; 3] = [1 << 17, 16, 8];
const HASH_LEN_MAX: usize = 255;

/// Whether a text is a hash as they are kept: argon2id in the PHC form, verified at bounded cost.
pub(super) fn is_hash(text: &str) -> bool {
    let parts: Vec<_> = text.split('$').collect();
    let ["", "argon2id", "v=19", costs, salt, hash] = parts[..] else { return false };
    let costs: Vec<_> = costs.split(',').collect();
    let is_cost = |((name, max), cost): ((&str, u32), &&str)| {
        let number = cost.strip_prefix(name).and_then(|it| it.parse::<u32>().ok());
        number.is_some_and(|number| (1..=max).contains(&number))
    };
    let names = ["m=", "t=", "p="].into_iter().zip(COSTS_MAX);
    let decoded = |text| STANDARD_NO_PAD.decode(text).map_or(0, |bytes| bytes.len());
    text.len() <= HASH_LEN_MAX
        && costs.len() == COSTS_MAX.len()
        && names.zip(&costs).all(is_cost)
        && decoded(salt) >= 8
        && decoded(hash) >= 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_tells_its_password_from_others_and_no_two_are_alike() {
        let kept = hash("correct horse").ok().unwrap();
        let parts: Vec<_> = kept.split('$').collect();
        assert_eq!(parts[1..4], ["argon2id", "v=19", "m=19456,t=2,p=1"]);
        let (salt, expected) =
            (STANDARD_NO_PAD.decode(parts[4]).unwrap(), STANDARD_NO_PAD.decode(parts[5]).unwrap());
        assert_eq!(hash_with("correct horse", &salt).unwrap()[..], expected);
        assert_ne!(hash_with("correct horsf", &salt).unwrap()[..], expected);
        assert_ne!(hash("correct horse").ok().unwrap(), kept);
    }

    #[test]
    fn what_is_a_hash_is_told_from_what_is_none_or_costs_too_much() {
        assert!(is_hash(&hash("correct horse").ok().unwrap()));
        let text = |costs: &str, salt: &str| format!("$argon2id$v=19${costs}${salt}$MDEyMzQ1Njc4OWFiY2RlZg");
        assert!(is_hash(&text("m=131072,t=16,p=8", "MDEyMzQ1Njc")));
        for costs in
            ["m=131073,t=16,p=8", "m=1,t=17,p=8", "m=1,t=1,p=9", "m=0,t=1,p=1", "m=1,t=1", "t=1,m=1,p=1", ""]
        {
            assert!(!is_hash(&text(costs, "MDEyMzQ1Njc")), "{costs}");
        }
        assert!(!is_hash(&text("m=1,t=1,p=1", "MDEy")) && !is_hash("$argon2id$") && !is_hash(""));
        assert!(!is_hash(&text("m=1,t=1,p=1", &"MDEyMzQ1Njc4OWFi".repeat(16))));
    }

    #[test]
    fn many_who_hash_at_once_all_come_to_it() {
        let threads: Vec<_> = (0..6).map(|_| std::thread::spawn(|| hash("secret").is_ok())).collect();
        // Other tests hash at the same time.
        while threads.iter().any(|thread| !thread.is_finished()) {
            assert!(*AT_WORK.lock() <= AT_ONCE_MAX);
            std::thread::yield_now();
        }
        assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
    }
}
