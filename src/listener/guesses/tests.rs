//! Whoever guesses waits; whoever does not, does not.

use super::*;

const A_TARGET: Target<'static> = Target::Service("1001");

fn peer(n: u32) -> Peer {
    Peer::of(std::net::Ipv4Addr::from(0xc000_0200 + n).into())
}

fn attempt<'a>(peer: Peer, target: Target<'a>, credential: &'a str) -> Attempt<'a> {
    Attempt { peer, target, credential: credential.as_bytes() }
}

/// Sends `count` different wrong credentials; how many of them were looked at.
fn guess(guesses: &Guesses, peer: Peer, target: Target<'_>, count: u32, now: u64) -> u32 {
    let text = |n| format!("wrong {n} at {now}");
    (0..count)
        .filter(|n| {
            let text = text(*n);
            let attempt = attempt(peer, target, &text);
            let admitted = guesses.admit_at(&attempt, now).is_ok();
            if admitted {
                guesses.failed_at(&attempt, now);
            }
            admitted
        })
        .count() as u32
}

fn admits(guesses: &Guesses, peer: Peer, target: Target<'_>, credential: &str, now: u64) -> bool {
    guesses.admit_at(&attempt(peer, target, credential), now).is_ok()
}

#[test]
fn a_guesser_is_slowed_to_one_in_an_interval() {
    let guesses = Guesses::new(false);
    assert_eq!(guess(&guesses, peer(1), A_TARGET, PEER_BURST, 1), PEER_BURST);
    assert_eq!(guess(&guesses, peer(1), A_TARGET, 1000, 1), 0);
    let refused = guesses.admit_at(&attempt(peer(1), A_TARGET, "the right one"), 1);
    assert_eq!(
        refused,
        Err(Wait { seconds: PEER_INTERVAL_MS / 1000 }),
        "right or wrong, it is not looked at"
    );
    for n in 1..10 {
        assert_eq!(guess(&guesses, peer(1), A_TARGET, 1000, 1 + n * PEER_INTERVAL_MS), 1);
    }
    let rested = 1 + 10 * PEER_INTERVAL_MS + u64::from(PEER_BURST) * PEER_INTERVAL_MS;
    assert_eq!(guess(&guesses, peer(1), A_TARGET, 1000, rested), PEER_BURST);
}

#[test]
fn what_was_right_before_never_waits() {
    let guesses = Guesses::new(false);
    guesses.passed(&attempt(peer(1), A_TARGET, "good"));
    guess(&guesses, peer(1), A_TARGET, 1000, 1);
    assert!(admits(&guesses, peer(1), A_TARGET, "good", 1));
    assert!(!admits(&guesses, peer(1), A_TARGET, "new", 1));
    // Another peer's knowledge is not this one's.
    guess(&guesses, peer(2), A_TARGET, 1000, 1);
    assert!(!admits(&guesses, peer(2), A_TARGET, "good", 1));
    // Once it has been wrong, it is like any other.
    guesses.failed_at(&attempt(peer(1), A_TARGET, "good"), 1);
    assert!(!admits(&guesses, peer(1), A_TARGET, "good", 1));
}

#[test]
fn one_peers_failures_are_not_anothers_nor_one_services() {
    let guesses = Guesses::new(false);
    guess(&guesses, peer(1), A_TARGET, 1000, 1);
    assert!(!admits(&guesses, peer(1), A_TARGET, "new", 1));
    assert!(admits(&guesses, peer(2), A_TARGET, "new", 1));
    for target in [Target::Service("1002"), Target::ProviderKey, Target::InternalApi] {
        assert!(admits(&guesses, peer(1), target, "new", 1), "{target:?}");
    }
}

#[test]
fn a_service_spelt_otherwise_is_the_same_target() {
    let guesses = Guesses::new(false);
    guess(&guesses, peer(1), A_TARGET, PEER_BURST, 1);
    for id in ["x-1001", "x-y-1001", "-1001"] {
        assert!(!admits(&guesses, peer(1), Target::Service(id), "new", 1), "{id}");
    }
    assert!(admits(&guesses, peer(1), Target::Service("1001-x"), "new", 1));
}

#[test]
fn the_same_wrong_credential_costs_once() {
    let guesses = Guesses::new(false);
    for _ in 0..10_000 {
        guesses.failed_at(&attempt(peer(1), A_TARGET, "revoked"), 1);
    }
    assert!(admits(&guesses, peer(1), A_TARGET, "new", 1));
    assert_eq!(guess(&guesses, peer(1), A_TARGET, 1000, 1), PEER_BURST - 1);
}

#[test]
fn many_peers_at_one_target_spend_its_budget_and_only_they_wait() {
    let guesses = Guesses::new(false);
    let crowd = TARGET_BURST / 10;
    let looked_at: u32 = (0..crowd + 5).map(|n| guess(&guesses, peer(n), A_TARGET, 10, 1)).sum();
    // The first of each is looked at, since it has done nothing yet.
    assert_eq!(looked_at, TARGET_BURST + 5);
    assert!(!admits(&guesses, peer(1), A_TARGET, "new", 1));
    assert!(admits(&guesses, peer(1), Target::Service("1002"), "new", 1));
    assert!(admits(&guesses, peer(99), A_TARGET, "new", 1), "who has not guessed is not affected");
    assert!(admits(&guesses, peer(1), A_TARGET, "new", 1 + TARGET_INTERVAL_MS));
}

#[test]
fn loopback_waits_for_the_internal_api_only() {
    let local = Peer::of([127, 0, 0, 1].into());
    for (local_counts, target, waits) in [
        (false, A_TARGET, false),
        (false, Target::ProviderKey, false),
        (false, Target::InternalApi, true),
        (true, A_TARGET, true),
    ] {
        let guesses = Guesses::new(local_counts);
        let refused = (0..PEER_BURST + 1)
            .any(|n| guesses.check(&attempt(local, target, &n.to_string()), || false).is_err());
        assert_eq!(refused, waits, "{target:?}");
    }
}

#[test]
fn a_crowd_with_single_failures_does_not_make_a_guesser_forgotten() {
    let guesses = Guesses::new(false);
    guess(&guesses, peer(0), A_TARGET, 1000, 1);
    for n in 0..4 * PEERS_MAX {
        let service = n.to_string();
        guess(&guesses, peer(0), Target::Service(&service), 1, 1);
    }
    assert!(!admits(&guesses, peer(0), A_TARGET, "new", 1));
}

#[test]
fn what_is_known_is_bounded_and_mostly_kept() {
    let guesses = Guesses::new(false);
    let gateways = KNOWN_MAX / 8;
    let name = |n: usize| format!("token {n}");
    (0..gateways).for_each(|n| guesses.passed(&attempt(peer(1), A_TARGET, &name(n))));
    guess(&guesses, peer(1), A_TARGET, 1000, 1);
    let kept = (0..gateways).filter(|n| admits(&guesses, peer(1), A_TARGET, &name(*n), 1)).count();
    // A place of four is asked to take a fifth by one in ten thousand or so.
    assert!(kept > gateways - gateways / 200, "{kept} of {gateways}");
    (0..8 * KNOWN_MAX).for_each(|n| guesses.passed(&attempt(peer(2), A_TARGET, &name(n))));
    assert_eq!(guesses.known.len(), KNOWN_MAX);
}
