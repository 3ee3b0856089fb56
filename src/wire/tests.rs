//! The codec by properties: what is written is read again, what is cut or unknown is refused, limits hold at n and n+1.

use proptest::prelude::*;

use super::*;
use crate::model::amount::Effect;
use crate::model::id::MetricSlot;

fn effect() -> impl Strategy<Value = Effect> {
    prop_oneof![any::<u64>().prop_map(Effect::Add), any::<u64>().prop_map(Effect::Set)]
}

fn text() -> impl Strategy<Value = Option<String>> {
    proptest::option::of("[a-zA-Z0-9 \u{e9}-]{1,40}")
}

/// What a call says, owned.
#[derive(Clone, Debug)]
struct Said {
    handle: Option<u64>,
    rows: Vec<Row>,
    usage: Vec<(String, Effect)>,
    metrics: Vec<String>,
    texts: [Option<String>; 8],
    timestamp: Option<i64>,
    last: u64,
}

prop_compose! {
    fn said()(
        handle in proptest::option::of(1..u64::MAX),
        rows in proptest::collection::vec((0..0x8000_0000_u32, effect()), 0..20),
        usage in proptest::collection::vec(("[a-z]{1,9}", effect()), 0..12),
        metrics in proptest::collection::vec("[a-z]{0,9}", 0..12),
        texts in proptest::array::uniform8(text()),
        timestamp in proptest::option::of(any::<i64>()),
        last in any::<u64>(),
    ) -> Said {
        let rows = rows.into_iter().map(|(slot, effect)| (MetricSlot(slot), effect)).collect();
        Said { handle, rows, usage, metrics, texts, timestamp, last }
    }
}

impl Said {
    fn call(&self) -> Call<'_> {
        let [service, user_key, app_id, app_key, referrer, log_code, redirect_uri, redirect_url] =
            self.texts.each_ref().map(Option::as_deref);
        Call {
            handle: self.handle,
            usage: self.usage.iter().map(|(name, effect)| (name.as_str(), *effect)).collect(),
            metrics: self.metrics.iter().map(String::as_str).collect(),
            timestamp: self.timestamp,
            reservation: self.last,
            service,
            user_key,
            app_id,
            app_key,
            referrer,
            log_code,
            redirect_uri,
            redirect_url,
            ..Call::default()
        }
    }

    fn is_read_by(&self, call: &Call<'_>) {
        let own = self.call();
        assert_eq!(call.usage.as_slice(), own.usage.as_slice());
        assert_eq!(call.metrics.as_slice(), own.metrics.as_slice());
        assert_eq!((call.timestamp, call.service, call.user_key), (own.timestamp, own.service, own.user_key));
        assert_eq!((call.app_id, call.app_key, call.referrer), (own.app_id, own.app_key, own.referrer));
        assert_eq!(
            (call.log_code, call.redirect_uri, call.redirect_url),
            (own.log_code, own.redirect_uri, own.redirect_url)
        );
    }
}

/// Whether a look into a body tells what reading it tells.
fn is_peeked_at(body: &[u8], call: &Call<'_>) -> bool {
    let by_fields =
        Peek { handle: None, service: call.service, user_key: call.user_key, app_id: call.app_id };
    let by_handle = Peek { handle: call.handle, ..Peek::default() };
    Peek::at(body) == Some(if call.handle.is_some() { by_handle } else { by_fields })
}

proptest! {
    #[test]
    fn calls_are_read_as_they_were_written(said in said()) {
        let mut bytes = Vec::new();
        put_call(&mut bytes, &said.call(), &said.rows, false);
        let call = Call::read(&bytes).unwrap();
        said.is_read_by(&call);
        prop_assert_eq!(call.rows.iter().collect::<Vec<_>>(), said.rows.clone());
        prop_assert_eq!(call.handle, said.handle);

        prop_assert!(is_peeked_at(&bytes, &call));

        let mut longer = Vec::new();
        put_call(&mut longer, &said.call(), &said.rows, true);
        prop_assert!(is_peeked_at(&longer, &call));
        let call = Call::read_longer(&longer).unwrap();
        said.is_read_by(&call);
        prop_assert_eq!(call.reservation, said.last);

        let mut bind = Vec::new();
        put_bind(&mut bind, &said.call());
        said.is_read_by(&Call::read_bind(&bind).unwrap());
    }

    /// A longer fixed part is of a later version, and read all the same; a shorter body is an error, whatever is cut off.
    #[test]
    fn longer_fixed_parts_are_read_and_shorter_bodies_refused(said in said(), more in 1..200_u8, cut in any::<prop::sample::Index>()) {
        let mut bytes = Vec::new();
        put_call(&mut bytes, &said.call(), &said.rows, false);
        let mut longer = bytes.clone();
        longer[0] += more;
        longer.splice(16..16, std::iter::repeat_n(0xEE, usize::from(more)));
        let call = Call::read(&longer).unwrap();
        said.is_read_by(&call);
        prop_assert_eq!(call.rows.iter().collect::<Vec<_>>(), said.rows.clone());

        // Cut between two fields it is a body without the later ones.
        if let Ok(call) = Call::read(&bytes[..cut.index(bytes.len())]) {
            prop_assert!(call.usage.len() <= said.usage.len());
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(Some((header, body))) = split(&bytes, FRAME_MAX_DEFAULT) {
            prop_assert_eq!(header.length as usize, HEADER_LEN + body.len());
        }
        if let Ok(call) = Call::read(&bytes) {
            prop_assert!(is_peeked_at(&bytes, &call));
        }
        let _ = (Call::read_longer(&bytes), Call::read_bind(&bytes));
        let _ = (Hello::read(&bytes), Proof::read(&bytes), Challenge::read(&bytes), Welcome::read(&bytes));
        let _ = (Decision::read(&bytes).map(drop), Receipt::read(&bytes), Bound::read(&bytes));
        let _ = (Failure::read(&bytes), Pong::read(&bytes), Stats::read(&bytes), Goodbye::read(&bytes));
        let _ = (QueryAnswer::read(&bytes), BatchAnswer::read(&bytes).map(drop));
        if let Ok(items) = Items::read(&bytes) {
            prop_assert_eq!(items.count(), items.len());
        }
    }

    #[test]
    fn decisions_are_read_as_they_were_written(numbers in any::<[u64; 8]>(), small in any::<(bool, u8, u16, u16)>()) {
        let [limit, max, current, remaining, reset_ms, retry_after_ms, catalog_version, reservation] = numbers;
        let (yes, marks, reason, would_deny) = small;
        let decision = Decision {
            yes, marks: Mark(marks), reason, would_deny, limit, max, current, remaining, reset_ms, retry_after_ms,
            catalog_version, reservation,
        };
        let mut bytes = Vec::new();
        decision.put(&mut bytes);
        prop_assert_eq!(bytes.len(), Decision::LEN);
        prop_assert_eq!(Decision::read(&bytes).unwrap().0, decision);
    }

    #[test]
    fn answers_to_queries_are_read_as_they_were_written(
        limits in proptest::collection::vec(any::<(u64, u32, u8, bool, [u64; 4])>(), 0..9),
        usage in proptest::collection::vec(any::<(u32, [u64; 7])>(), 0..9),
        metrics in proptest::collection::vec((any::<u32>(), "[a-z]{0,9}"), 0..9),
        times in any::<(bool, u8, u64, u64)>(),
    ) {
        let limit_row = |(limit, metric, period, shadow, [max, count, held, reset_ms]): (u64, u32, u8, bool, [u64; 4])| LimitRow {
            limit, metric, period, shadow, max, count, held, reset_ms,
        };
        let (active, reservations, catalog_version, time_us) = times;
        let answer = QueryAnswer {
            active, reservations, catalog_version, time_us,
            limits: limits.into_iter().map(limit_row).collect(),
            usage: usage.into_iter().map(|(metric, counts)| UsageRow { metric, counts }).collect(),
            metrics,
        };
        let mut bytes = Vec::new();
        answer.put(&mut bytes);
        prop_assert_eq!(bytes.len(), answer.len());
        prop_assert_eq!(QueryAnswer::read(&bytes).unwrap(), answer);
    }

    #[test]
    fn batches_are_read_as_they_were_written(bodies in proptest::collection::vec((any::<u8>(), any::<u8>(), proptest::collection::vec(any::<u8>(), 0..60)), 1..40)) {
        let mut bytes = Vec::new();
        put_batch(&mut bytes, bodies.iter().map(|(operation, flags, body)| {
            (Operation(*operation), Flags(*flags), |out: &mut Vec<u8>| out.extend_from_slice(body))
        }));
        let items: Vec<_> = Items::read(&bytes).unwrap().collect();
        prop_assert_eq!(items.len(), bodies.len());
        for (item, (operation, flags, body)) in items.iter().zip(&bodies) {
            prop_assert_eq!((item.operation.0, item.flags.0, item.body), (*operation, *flags, body.as_slice()));
        }
        bytes.truncate(bytes.len() - 1);
        prop_assert!(Items::read(&bytes).is_err());
    }
}

#[test]
fn frames_are_split_at_their_length_and_impossible_ones_refused_before_their_body_is_there() {
    let mut bytes = Vec::new();
    let mut frame = Frame::request(&mut bytes, Operation::PING, Flags::default(), 7);
    frame.body().extend_from_slice(b"abc");
    assert_eq!(frame.end(), 19);
    bytes.push(1);
    let (header, body) = split(&bytes, 64).unwrap().unwrap();
    assert_eq!((header.id, header.operation, body), (7, Operation::PING, &b"abc"[..]));
    assert_eq!(split(&bytes[..18], 64), Ok(None));
    assert_eq!(split(&bytes[..15], 64), Ok(None));
    for (length, max, fits) in [(15_u32, 64, false), (16, 64, true), (64, 64, true), (65, 64, false)] {
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        assert_eq!(split(&bytes[..16], max).is_ok(), fits, "{length}");
    }
}

fn with_usage(rows: usize, fields: usize) -> Result<(), WireError> {
    let rows = vec![(MetricSlot(1), Effect::Add(1)); rows];
    let usage = std::iter::repeat_n(("hits", Effect::Add(1)), fields).collect();
    let mut bytes = Vec::new();
    put_call(&mut bytes, &Call { usage, ..Call::default() }, &rows, false);
    Call::read(&bytes).map(drop)
}

#[test]
fn at_most_255_metrics_are_named() {
    assert_eq!(with_usage(255, 0), Ok(()));
    assert_eq!(with_usage(200, 55), Ok(()));
    assert_eq!(with_usage(200, 56), Err(WireError::TooManyMetrics));
    assert_eq!(with_usage(0, 256), Err(WireError::TooManyMetrics));
}

#[test]
fn fields_that_must_be_understood_are_not_skipped() {
    let plain = |tag: u16, value: &[u8]| {
        let mut bytes = vec![16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        body::put_field(&mut bytes, Tag(tag), &[value]);
        Call::read(&bytes).map(drop)
    };
    assert_eq!(plain(0x7FFF, b"x"), Ok(()));
    assert_eq!(plain(0xFFFF, b"x").map_err(WireError::status), Err(Status::NOT_SUPPORTED));
    let wrong = Err(WireError::FieldValue { tag: Tag::IDEMPOTENCY.0 });
    assert_eq!([b"".as_slice(), &[1; 65]].map(|id| plain(Tag::IDEMPOTENCY.0, id)), [wrong, wrong]);
    assert_eq!([b"x".as_slice(), &[1; 64]].map(|id| plain(Tag::IDEMPOTENCY.0, id)), [Ok(()), Ok(())]);
    assert_eq!(plain(Tag::USER_KEY.0, b"\xFF").map_err(WireError::status), Err(Status::NOT_VALID_DATA));
    assert_eq!(plain(Tag::USAGE.0, b"\x02\0\0\0\0\0\0\0\0x"), Err(WireError::FieldValue { tag: 6 }));
}

#[test]
fn flags_belong_to_their_operations() {
    for (operation, flags, fits) in [
        (Operation::AUTHREP, 0x17, true),
        (Operation::AUTHREP, 0x0C, false),
        (Operation::AUTHREP, 0x20, false),
        (Operation::AUTHORIZE, 0x04, false),
        (Operation::BATCH, 0x24, true),
        (Operation::BATCH, 0x01, false),
        (Operation::PING, 0x01, false),
        (Operation::REPORT, 0x09, true),
    ] {
        assert_eq!(Flags(flags).check(operation).is_ok(), fits, "{operation:?} {flags:#x}");
    }
}

#[test]
fn as_many_items_fit_a_batch_as_their_answers_fit_a_frame() {
    assert_eq!(Items::max(FRAME_MAX_DEFAULT), 818);
    let mut out = Vec::new();
    let mut frame = Frame::answer(&mut out, Operation::BATCH, Status::OK, 1);
    let mut answer = BatchAnswer::begin(frame.body());
    for _ in 0..818 {
        answer.item(Operation::AUTHREP, Status::OK, |out| Decision::default().put(out));
    }
    answer.end(true);
    assert!(frame.end() <= FRAME_MAX_DEFAULT as usize);
    let (done, items) = BatchAnswer::read(&out[16..]).unwrap();
    assert!(done && items.len() == 818 && items[0].operation == Operation::AUTHREP.answer());
}
