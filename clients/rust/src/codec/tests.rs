//! Round trips of everything that can be said, and bytes that say nothing.

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;
use tokio_util::codec::{Decoder, Encoder};

use super::*;

/// Texts that live as long as a test's process: the types borrow theirs.
fn text() -> impl Strategy<Value = Option<&'static str>> {
    prop_oneof![
        Just(None),
        Just(Some("hits")),
        Just(Some("größe ☃")),
        Just(Some("a key with spaces & signs")),
        Just(Some("x"))
    ]
}

fn amount() -> impl Strategy<Value = u64> {
    prop_oneof![any::<u64>(), Just(0), Just(1), Just(NEVER)]
}

fn named_usage() -> impl Strategy<Value = Vec<NamedUsage<'static>>> {
    let one = (text(), amount(), any::<bool>());
    vec(
        one.prop_map(|(metric, amount, sets)| NamedUsage { metric: metric.unwrap_or(""), amount, sets }),
        0..4,
    )
}

prop_compose! {
    fn request_fields()(
        (service, user_key, app_id, app_key) in (text(), text(), text(), text()),
        (referrer, log_code, redirect_uri, redirect_url) in (text(), text(), text(), text()),
        usage in named_usage(),
        timestamp in any::<Option<i64>>(),
        idempotency in prop_oneof![Just(None), Just(Some(&b"id"[..])), Just(Some(&[7; IDEMPOTENCY_LEN_MAX][..]))],
        numbered in prop_oneof![
            Just(None),
            (1..=u64::MAX).prop_map(|sequence| Some(Numbered { producer: &[7; PRODUCER_LEN_MAX], sequence })),
        ],
        metrics in vec(text().prop_map(|name| name.unwrap_or("")), 0..4),
        client in text(),
    ) -> Fields<'static> {
        Fields {
            service, user_key, app_id, app_key, referrer, usage, timestamp, log_code, idempotency, numbered,
            redirect_uri, redirect_url, metrics, client, ..Fields::default()
        }
    }
}

prop_compose! {
    fn call()(
        handle in any::<u64>(),
        rows in vec((0u32..1 << 31, amount(), any::<bool>()), 0..6),
        fields in request_fields(),
    ) -> Call<'static> {
        let row = |(metric, amount, sets)| UsageRow { metric, amount, sets };
        Call { handle, rows: rows.into_iter().map(row).collect(), fields }
    }
}

fn settle() -> impl Strategy<Value = Settle<'static>> {
    (call(), any::<u64>()).prop_map(|(call, reservation)| Settle { call, reservation })
}

prop_compose! {
    fn hello()(
        method in prop_oneof![Just(Method::None), Just(Method::NodeSecret), Just(Method::ServiceToken)],
        (version_min, version_max) in any::<(u16, u16)>(),
        (frame_max, window, features) in any::<(u32, u32, u64)>(),
        nonce in any::<[u8; 32]>(),
        (client, service) in (text(), text()),
    ) -> Hello<'static> {
        let fields = Fields { client, service, ..Fields::default() };
        Hello { method, version_min, version_max, frame_max, window, features, nonce, fields }
    }
}

fn batch() -> impl Strategy<Value = Batch<'static>> {
    let bodies = [&b""[..], b"\x10", b"anything at all"];
    let item = (any::<u8>(), any::<u8>(), 0..bodies.len());
    let item =
        item.prop_map(move |(operation, flags, body)| BatchItem { operation, flags, body: bodies[body] });
    vec(item, 1..5).prop_map(|items| Batch { items })
}

fn request() -> impl Strategy<Value = Request<'static>> {
    prop_oneof![
        hello().prop_map(Request::Hello),
        any::<[u8; 32]>().prop_map(|mac| Request::Proof(Proof { mac })),
        Just(Request::Ping),
        Just(Request::Stats),
        Just(Request::Goaway),
        call().prop_map(Request::Authorize),
        call().prop_map(Request::Authrep),
        call().prop_map(Request::Report),
        call().prop_map(Request::Check),
        call().prop_map(Request::Query),
        request_fields().prop_map(|fields| Request::Bind(Bind { fields })),
        batch().prop_map(Request::Batch),
        (call(), any::<u32>()).prop_map(|(call, ttl_s)| Request::Reserve(Reserve { call, ttl_s })),
        settle().prop_map(Request::Commit),
        settle().prop_map(Request::Cancel),
    ]
}

prop_compose! {
    fn limit_row()(
        (id, metric, shadow) in any::<(u64, u32, bool)>(),
        period in 0..7usize,
        (maximum, count, held, window_ends_ms) in (amount(), amount(), amount(), amount()),
    ) -> LimitRow {
        LimitRow { id, metric, period: Period::ALL[period], shadow, maximum, count, held, window_ends_ms }
    }
}

fn reason() -> impl Strategy<Value = Option<Reason>> {
    (0u16..20).prop_map(Reason::from_number)
}

prop_compose! {
    fn decision()(
        (allowed, counted, shadowed, behind) in any::<(bool, bool, bool, bool)>(),
        (reason, shadow_reason) in (reason(), reason()),
        limit in prop::option::of(any::<(u64, u64, u64, u64)>()),
        (remaining, retry_after_ms, catalog_version, reservation) in (amount(), amount(), amount(), amount()),
        limits in vec(limit_row(), 0..4),
    ) -> Decision {
        let limit = limit.map(|(id, maximum, count, window_ends_ms)| {
            BindingLimit { id, maximum, count, window_ends_ms }
        });
        Decision {
            allowed, counted, shadowed, behind, reason, shadow_reason, limit, remaining, retry_after_ms,
            catalog_version, reservation, limits,
        }
    }
}

prop_compose! {
    fn receipt()(
        outcome in prop_oneof![Just(Outcome::Done), Just(Outcome::Overrun), Just(Outcome::Expired)],
        (on_disk, behind, catalog_version) in any::<(bool, bool, u64)>(),
    ) -> Receipt {
        Receipt { outcome, on_disk, behind, catalog_version }
    }
}

prop_compose! {
    fn standing()(
        (active, open_reservations, catalog_version, time_us) in any::<(bool, u8, u64, u64)>(),
        limits in vec(limit_row(), 0..3),
        usage in vec(any::<(u32, [u64; 7])>(), 0..3),
        metrics in vec((any::<u32>(), text()), 0..3),
    ) -> Standing {
        let usage = usage.into_iter().map(|(metric, counts)| UsageCounts { metric, counts }).collect();
        let metrics =
            metrics.into_iter().map(|(number, name)| (number, name.unwrap_or("").to_owned())).collect();
        Standing { active, open_reservations, catalog_version, time_us, limits, usage, metrics }
    }
}

prop_compose! {
    fn welcome()(
        (version, frame_max, window, idle_ms) in any::<(u16, u32, u32, u32)>(),
        (features, session, node, time_us, catalog_version) in any::<(u64, u64, u64, u64, u64)>(),
        mac in any::<[u8; 32]>(),
        software in text(),
    ) -> Welcome<'static> {
        let fields = Fields { node: software, ..Fields::default() };
        Welcome { version, frame_max, window, idle_ms, features, session, node, time_us, catalog_version, mac, fields }
    }
}

/// The answer's operation and status, and the answer.
fn answer() -> impl Strategy<Value = (Operation, Status, Answer<'static>)> {
    let message = || text().prop_map(|text| text.map(str::to_owned));
    let refusal =
        (0x0100u16..0x0700, any::<u32>(), message()).prop_map(|(status, retry_after_ms, message)| {
            let refusal = Refusal { status: Status(status), retry_after_ms, message };
            (Operation::Authrep, Status(status), Answer::Refused(refusal))
        });
    let bound = (any::<bool>(), reason(), 1u64.., any::<u64>(), vec(any::<u32>(), 0..5)).prop_map(
        |(bound, reason, handle, catalog_version, metrics)| {
            Answer::Bound(Bound { bound, reason, handle, catalog_version, metrics })
        },
    );
    let goaway = (0u16..9, any::<u32>(), message());
    let goaway = goaway.prop_map(|(number, closes_ms, message)| {
        let body = [8, 0, number as u8, 0, 0, 0, 0, 0];
        let reason = Goaway::decode(&body).expect("a goaway").reason;
        Answer::Goaway(Goaway { reason, closes_ms, message })
    });
    let items = vec((any::<u8>(), any::<u16>(), 0..3usize), 0..4).prop_map(|items| {
        let bodies = [&b""[..], b"\x10", b"anything at all"];
        let item = |(operation, status, body): (u8, u16, usize)| BatchAnswerItem {
            operation,
            status: Status(status),
            body: bodies[body],
        };
        items.into_iter().map(item).collect()
    });
    let batch = (any::<bool>(), items).prop_map(|(done, items)| Answer::Batch(BatchAnswer { done, items }));
    let stats = any::<(bool, u64, u64, u64, u64, u64, u64, u64)>();
    let stats = (stats, any::<u64>()).prop_map(|(figures, unflushed_us)| {
        let (behind, uptime_s, connections, frames, decisions, denied, applications, catalog_version) =
            figures;
        Answer::Stats(Stats {
            behind,
            uptime_s,
            connections,
            frames,
            decisions,
            denied,
            applications,
            catalog_version,
            unflushed_us,
        })
    });
    let ok = |operation| move |answer| (operation, Status::OK, answer);
    prop_oneof![
        refusal,
        any::<[u8; 32]>().prop_map(|nonce| {
            (Operation::Hello, Status::CHALLENGE, Answer::Challenge(Challenge { nonce }))
        }),
        welcome().prop_map(|welcome| Answer::Welcome(Box::new(welcome))).prop_map(ok(Operation::Proof)),
        any::<(u64, u64)>()
            .prop_map(|(time_us, catalog_version)| Answer::Pong(Pong { time_us, catalog_version }))
            .prop_map(ok(Operation::Ping)),
        stats.prop_map(ok(Operation::Stats)),
        goaway.prop_map(ok(Operation::Goaway)),
        decision().prop_map(Answer::Decision).prop_map(ok(Operation::Reserve)),
        receipt().prop_map(Answer::Receipt).prop_map(ok(Operation::Commit)),
        bound.prop_map(ok(Operation::Bind)),
        batch.prop_map(ok(Operation::Batch)),
        standing().prop_map(Answer::Standing).prop_map(ok(Operation::Query)),
    ]
}

fn decode_everything(bytes: &[u8]) {
    for number in 0..=u8::MAX {
        let _ = Request::decode(number, bytes);
        for status in [0, 1, 2, 0x0201, 0x0405] {
            let _ = Answer::decode(number, Status(status), bytes);
        }
    }
}

proptest! {
    #[test]
    fn requests_survive_the_wire(request in request()) {
        let mut body = BytesMut::new();
        request.encode(&mut body).unwrap();
        prop_assert_eq!(Request::decode(request.operation().number(), &body), Ok(request));
    }

    #[test]
    fn answers_survive_the_wire((operation, status, answer) in answer()) {
        let mut body = BytesMut::new();
        answer.encode(&mut body).unwrap();
        prop_assert_eq!(Answer::decode(operation.answer(), status, &body), Ok(answer));
    }

    /// What a later version appends to a fixed part, and fields that it adds, change nothing.
    #[test]
    fn what_a_later_version_adds_is_skipped(request in request(), more in vec(any::<u8>(), 0..20)) {
        prop_assume!(!matches!(request, Request::Ping | Request::Stats | Request::Goaway));
        let mut body = BytesMut::new();
        request.encode(&mut body).unwrap();
        let fixed_len = usize::from(u16::from_le_bytes([body[0], body[1]]));
        let mut longer = BytesMut::from(&((fixed_len + more.len()) as u16).to_le_bytes()[..]);
        longer.extend_from_slice(&body[2..fixed_len]);
        longer.extend_from_slice(&more);
        longer.extend_from_slice(&body[fixed_len..]);
        longer.extend_from_slice(&[0xE7, 0x03, 2, 0, 1, 2]);
        prop_assert_eq!(Request::decode(request.operation().number(), &longer), Ok(request));
    }

    #[test]
    fn a_body_that_is_cut_short_is_another_one_or_an_error(request in request(), at in any::<prop::sample::Index>()) {
        let mut body = BytesMut::new();
        request.encode(&mut body).unwrap();
        prop_assume!(!body.is_empty());
        let cut = at.index(body.len());
        prop_assert_ne!(Request::decode(request.operation().number(), &body[..cut]), Ok(request));
    }

    #[test]
    fn bytes_that_mean_nothing_do_no_harm(bytes in vec(any::<u8>(), 0..300)) {
        decode_everything(&bytes);
    }

    /// Nearly right is more dangerous than random.
    #[test]
    fn bytes_that_nearly_mean_something_do_no_harm(
        request in request(),
        (_, _, answer) in answer(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let (mut asked, mut answered) = (BytesMut::new(), BytesMut::new());
        request.encode(&mut asked).unwrap();
        answer.encode(&mut answered).unwrap();
        for body in [&mut asked, &mut answered] {
            for (at, byte) in changes.iter().filter(|_| !body.is_empty()).collect::<Vec<_>>() {
                let at = at.index(body.len());
                body[at] = *byte;
            }
            decode_everything(body);
        }
    }

    /// However a stream is cut, the same frames come out.
    #[test]
    fn frames_survive_any_cutting(
        bodies in vec((any::<(u8, u8, u16, u64)>(), vec(any::<u8>(), 0..200)), 0..8),
        cuts in vec(1..50usize, 1..40),
    ) {
        let frames: Vec<_> = bodies.into_iter().map(|((operation, flags, status, id), body)| {
            Frame { head: Head { operation, flags, status: Status(status), id }, body: Bytes::from(body) }
        }).collect();
        let (mut codec, mut stream) = (FrameCodec::default(), BytesMut::new());
        for frame in &frames {
            codec.encode(frame.clone(), &mut stream).unwrap();
        }
        let (mut read, mut got) = (BytesMut::new(), Vec::new());
        let mut cuts = cuts.into_iter().cycle();
        while !stream.is_empty() {
            let cut = cuts.next().unwrap().min(stream.len());
            read.extend_from_slice(&stream.split_to(cut));
            while let Some(frame) = codec.decode(&mut read).unwrap() {
                got.push(frame);
            }
        }
        prop_assert_eq!(got, frames);
    }
}

/// A frame of `length` bytes, as far as its length goes.
fn stream_of(length: u32) -> BytesMut {
    BytesMut::from(&length.to_le_bytes()[..])
}

#[test]
fn lengths_hold_at_n_and_n_plus_one() {
    let mut codec = FrameCodec { frame_max: 4096 };
    for possible in [16, 4096] {
        assert!(matches!(codec.decode(&mut stream_of(possible)), Ok(None)));
    }
    for impossible in [0, 15, 4097, u32::MAX] {
        assert!(matches!(codec.decode(&mut stream_of(impossible)), Err(FrameError::Length { .. })));
    }
    let frame = |length: usize| Frame {
        head: Head { operation: 5, flags: 0, status: Status::OK, id: 1 },
        body: Bytes::from(vec![0; length - HEAD_LEN]),
    };
    assert!(codec.encode(frame(4096), &mut BytesMut::new()).is_ok());
    assert!(codec.encode(frame(4097), &mut BytesMut::new()).is_err());
}

#[test]
fn a_frame_that_does_not_fit_leaves_no_trace() {
    let mut stream = BytesMut::from(&b"before"[..]);
    let head = Head { operation: 5, flags: 0, status: Status::OK, id: 1 };
    let fill = |length: usize| {
        move |out: &mut BytesMut| {
            out.resize(out.len() + length, 7);
            Ok(())
        }
    };
    assert!(put_frame(&mut stream, 100, head, fill(85)).is_err());
    assert_eq!(&stream[..], b"before");
    assert!(put_frame(&mut stream, 100, head, fill(84)).is_ok());
    assert_eq!(stream.len(), 106);
}

#[test]
fn a_call_names_at_most_255_metrics() {
    let row = UsageRow { metric: 1, amount: 1, sets: false };
    let usage = NamedUsage { metric: "hits", amount: 1, sets: false };
    let call = |rows, named| Call {
        rows: vec![row; rows],
        fields: Fields { usage: vec![usage; named], ..Fields::default() },
        ..Call::default()
    };
    for (rows, named) in [(255, 0), (0, 255), (200, 55)] {
        let mut body = BytesMut::new();
        assert!(Request::Check(call(rows, named)).encode(&mut body).is_ok());
        assert!(Request::decode(Operation::Check.number(), &body).is_ok());
        // One more by name, as no encoder of ours would write it.
        body.extend_from_slice(&[6, 0, 9, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Request::decode(Operation::Check.number(), &body), Err(DecodeError::TooManyMetrics));
    }
    for (rows, named) in [(256, 0), (0, 256), (200, 56)] {
        assert!(Request::Check(call(rows, named)).encode(&mut BytesMut::new()).is_err());
    }
}

#[test]
fn batches_are_as_long_as_their_answers_allow() {
    assert_eq!(items_max(65_536), 818);
    assert_eq!(items_max(4_096), 50);
    assert_eq!(items_max(24 + 80), 1);
    assert_eq!(items_max(24 + 79), 0);
    assert_eq!(items_max(0), 0);
}
