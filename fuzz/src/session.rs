//! The server of the binary protocol: whole conversations, from the opening on, in pieces of any size.

use std::sync::{Arc, OnceLock};

use tollgate::engine::{Engine, Recovery};
use tollgate::journal::{Journal, Options, Sequence};
use tollgate::listener::guesses::Guesses;
use tollgate::listener::{Guest, Link, Peer};
use tollgate::model::draft::{Draft, NewApplication, NewService};
use tollgate::model::record::{BackendVersion, Secret};
use tollgate::model::time::{Period, UnixMillis};
use tollgate::tcp::replay::Replay;
use tollgate::tcp::{Config, Opens, Secrets, Server, Telemetry, UnixUser};
use tollgate::wire::{FRAME_MAX_GREATEST, OPENING, Operation, split};

/// 2026-11-22 13:45:30 UTC.
const NOON: u64 = 1_795_355_130_000;
/// The user who need not prove anything.
const TRUSTED: u32 = 7;

fn engine() -> Engine {
    let dir = std::env::temp_dir().join(format!("tollgate-fuzz-session-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).expect("a directory");
    let options = Options { now: UnixMillis(NOON), ..Options::default() };
    let nothing = |_, _, _| Ok::<(), std::convert::Infallible>(());
    let (journal, _) = Journal::open(&dir, options, Sequence(0), nothing).expect("a journal");
    let engine = Recovery::default().finish(journal, [7; 16]);
    // What is open stays, and leaves nothing behind.
    let _ = std::fs::remove_dir_all(&dir);
    let build = |draft: &mut Draft<'_>| {
        let tenant = draft.create_tenant("t", "p")?;
        let backend_version = BackendVersion::UserKey;
        let new = NewService { tenant, external_id: Some("7001"), name: "s", backend_version };
        let service = draft.create_service(&new)?;
        draft.edit_service(service, |it| it.tokens.push(Secret::new("golden-token-7001")))?;
        let hits = draft.create_metric(service, "hits", None)?;
        let search = draft.create_metric(service, "search", Some(hits))?;
        let plan = draft.create_plan(service, None, "Basic")?;
        draft.set_limit(plan, hits, Period::Eternity, 1_000)?;
        draft.set_limit(plan, search, Period::Minute, 10)?;
        let new = NewApplication { service, account: None, app_id: "a1", name: "a", plan };
        let application = draft.create_application(&new)?;
        draft.edit_application(application, |it| it.user_keys.push(Secret::new("uk-1")))?;
        Ok(())
    };
    engine.change(build).expect("a catalog");
    engine
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let unix_users = vec![UnixUser { uid: TRUSTED, opens: Opens::AllServices }];
        Server::new(
            Arc::new(engine()),
            Arc::new(|| UnixMillis(NOON)),
            Arc::new(Guesses::new(true)),
            Secrets::parse("0123456789abcdef0123456789abcdef").expect("a secret"),
            Arc::new(Telemetry::default()),
            Config { unix_users, ..Config::default() },
        )
    })
}

/// HELLO of a user who need not prove anything.
const HELLO: &[u8] =
    b"\x48\0\0\0\x01\0\0\0\x01\0\0\0\0\0\0\0\x38\0\0\0\x01\0\x01\0\0\0\x01\0\0\x01\0\0\0\0\0\0\0\0\0\0\
    \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// One input: how it comes (the lowest bit of the first byte: let in already; the next: the disk takes writes; the others:
/// how large the pieces are), then what comes.
pub fn run(bytes: &[u8]) {
    let Some((how, rest)) = bytes.split_first() else { return };
    let guest = Guest { peer: Peer::local(), link: Link::Unix { uid: TRUSTED } };
    let mut replay = Replay::new(server(), guest);
    let is_in = how & 1 == 1;
    if is_in {
        replay.receive(&[&OPENING[..], HELLO].concat(), true);
        assert!(replay.is_open(), "HELLO is taken");
    }
    let piece = match how >> 2 {
        0 => rest.len().max(1),
        size => usize::from(size) * 7,
    };
    let mut written = Vec::new();
    for piece in rest.chunks(piece) {
        written.extend(replay.receive(piece, how & 2 == 0));
        if replay.is_over() {
            break;
        }
        assert!(replay.unread() < FRAME_MAX_GREATEST as usize, "no more is kept than a frame");
    }
    let asked = if is_in { ids(rest) } else { ids(rest.strip_prefix(&OPENING).unwrap_or_default()) };
    let mut answered = written.as_slice();
    let mut ids_answered = Vec::new();
    while let Some((header, body)) = split(answered, FRAME_MAX_GREATEST).expect("answers are frames") {
        assert_ne!(header.operation.0 & Operation::ANSWER, 0);
        if header.operation != Operation::GOAWAY.answer() || !header.status.is_done() {
            ids_answered.push(header.id);
        }
        answered = &answered[16 + body.len()..];
    }
    assert!(answered.is_empty(), "answers are whole");
    // Durable answers come later than others.
    ids_answered.sort_unstable();
    let mut expected = asked[..ids_answered.len().min(asked.len())].to_vec();
    expected.sort_unstable();
    assert_eq!(ids_answered, expected, "each request has one answer");
}

/// The ids of the whole frames.
fn ids(bytes: &[u8]) -> Vec<u64> {
    let (mut rest, mut ids) = (bytes, Vec::new());
    while let Ok(Some((header, body))) = split(rest, FRAME_MAX_GREATEST) {
        ids.push(header.id);
        rest = &rest[16 + body.len()..];
    }
    ids
}
