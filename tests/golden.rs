//! The golden frames of `proto/golden`, read and written by the node's own codec. They come from the specification by
//! way of another program, so that this shows that the codec says what the specification says.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use serde_json::{Map, Value, json};
use tollgate::model::amount::Effect;
use tollgate::model::idempotency::RequestId;
use tollgate::wire::{
    BatchAnswer, Bound, Call, Challenge, Decision, FRAME_MAX_DEFAULT, Failure, Fields, Flags, Frame, Goodbye,
    HEADER_LEN, Header, Hello, Item, Items, LimitRow, Operation, Outcome, Pong, Proof, QueryAnswer, Receipt,
    Rows, Stats, Status, Tag, Welcome, WireError, proof_text, put_batch, put_bind, put_call,
    server_proof_text, split,
};

const OPERATIONS: [(u8, &str); 15] = [
    (0x01, "HELLO"),
    (0x02, "PROOF"),
    (0x05, "PING"),
    (0x06, "STATS"),
    (0x07, "GOAWAY"),
    (0x10, "AUTHORIZE"),
    (0x11, "AUTHREP"),
    (0x12, "REPORT"),
    (0x13, "CHECK"),
    (0x14, "BIND"),
    (0x16, "BATCH"),
    (0x17, "RESERVE"),
    (0x18, "COMMIT"),
    (0x19, "CANCEL"),
    (0x1A, "QUERY"),
];
const REASONS: [&str; 9] = [
    "",
    "limits_exceeded",
    "application_key_invalid",
    "referrer_not_allowed",
    "application_not_active",
    "service_not_active",
    "oauth_not_enabled",
    "redirect_uri_invalid",
    "redirect_url_invalid",
];
const PERIODS: [&str; 7] = ["eternity", "year", "month", "week", "day", "hour", "minute"];

fn golden(name: &str) -> Value {
    let path = format!("{}/proto/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A number as goldens write it.
fn number(value: u64) -> Value {
    match value {
        u64::MAX => json!("never"),
        value if value > 1 << 53 => json!(value.to_string()),
        value => json!(value),
    }
}

fn reason(number: u16) -> Value {
    if number == 0 { Value::Null } else { json!(REASONS[usize::from(number)]) }
}

fn bits(value: u64, names: &[&str]) -> Value {
    let set = names.iter().enumerate().filter(|(bit, name)| value >> bit & 1 == 1 && !name.is_empty());
    json!(set.map(|(_, name)| *name).collect::<Vec<_>>())
}

/// Fixed part, rows, items, fields.
type Parts = (Value, Vec<Value>, Vec<Value>, Vec<Value>);

fn effect((kind, amount): (&'static str, u64)) -> Map<String, Value> {
    let Value::Object(map) = json!({ "kind": kind, "amount": number(amount) }) else { unreachable!() };
    map
}

fn kind(effect: Effect) -> (&'static str, u64) {
    match effect {
        Effect::Add(amount) => ("adds", amount),
        Effect::Set(amount) => ("sets", amount),
    }
}

fn usage_rows(rows: Rows<'_>) -> Vec<Value> {
    let row = |(slot, done): (tollgate::model::id::MetricSlot, Effect)| {
        let mut row = effect(kind(done));
        row.insert("metric".into(), json!(slot.0));
        Value::Object(row)
    };
    rows.iter().map(row).collect()
}

/// The fields of a call; in the order in which they are written.
fn call_fields(call: &Call<'_>) -> Vec<Value> {
    let mut fields = Vec::new();
    let mut text = |tag: &str, value: Option<&str>| {
        fields.extend(value.map(|value| json!({ "tag": tag, "value": value })));
    };
    text("SERVICE", call.service);
    text("USER_KEY", call.user_key);
    text("APP_ID", call.app_id);
    text("APP_KEY", call.app_key);
    text("REFERRER", call.referrer);
    for (name, done) in &call.usage {
        let mut value = effect(kind(*done));
        value.insert("name".into(), json!(name));
        fields.push(json!({ "tag": "USAGE", "value": value }));
    }
    fields.extend(call.timestamp.map(|value| json!({ "tag": "TIMESTAMP", "value": value })));
    let mut text = |tag: &str, value: Option<&str>| {
        fields.extend(value.map(|value| json!({ "tag": tag, "value": value })));
    };
    text("LOG_CODE", call.log_code);
    text("REDIRECT_URI", call.redirect_uri);
    text("REDIRECT_URL", call.redirect_url);
    fields.extend(call.id.map(|id| match id {
        RequestId::Key(id) => json!({ "tag": "IDEMPOTENCY", "value": { "hex": hex(id) } }),
        RequestId::Numbered { producer, sequence } => {
            json!({ "tag": "PRODUCER", "value": { "sequence": sequence, "hex": hex(producer) } })
        }
    }));
    fields.extend(call.metrics.iter().map(|name| json!({ "tag": "METRIC", "value": name })));
    fields
}

fn limit_row(row: &LimitRow) -> Value {
    json!({
        "limit": number(row.limit), "metric": row.metric, "period": PERIODS[usize::from(row.period)],
        "marks": bits(u64::from(row.shadow), &["SHADOW"]), "maximum": number(row.max), "count": number(row.count),
        "held": number(row.held), "reset_ms": number(row.reset_ms),
    })
}

fn request(operation: Operation, body: &[u8]) -> Result<Parts, WireError> {
    let handle = |call: &Call<'_>| number(call.handle.unwrap_or(0));
    Ok(match operation {
        Operation::HELLO => {
            let hello = Hello::read(body)?;
            let method = ["none", "node secret", "service token"][usize::from(hello.method.0)];
            let fixed = json!({
                "method": method,
                "lowest": hello.version_min, "highest": hello.version_max, "frame_max": hello.frame_max,
                "window": hello.window, "features": bits(hello.features, &["DURABLE", "IDEMPOTENCY", "RESERVE", "ALL", "PRODUCER"]),
                "nonce": hex(&hello.nonce),
            });
            let fields = [("CLIENT", hello.client), ("SERVICE", hello.service)];
            let field = |(tag, value): (&str, Option<&str>)| Some(json!({ "tag": tag, "value": value? }));
            (fixed, vec![], vec![], fields.into_iter().filter_map(field).collect())
        }
        Operation::PROOF => (json!({ "mac": hex(&Proof::read(body)?.proof) }), vec![], vec![], vec![]),
        Operation::PING | Operation::STATS => (json!({}), vec![], vec![], vec![]),
        Operation::BIND => (json!({}), vec![], vec![], call_fields(&Call::read_bind(body)?)),
        Operation::BATCH => {
            let item = |item: Item<'_>| {
                let (fixed, rows, _, fields) = request(item.operation, item.body)?;
                Ok(json!({
                    "operation": operation_name(item.operation.0), "answer": false, "flags": flags(item.flags),
                    "status": "OK", "fixed": fixed, "rows": rows, "fields": fields,
                }))
            };
            (json!({}), vec![], Items::read(body)?.map(item).collect::<Result<_, WireError>>()?, vec![])
        }
        Operation::RESERVE => {
            let call = Call::read_longer(body)?;
            let fixed = json!({ "handle": handle(&call), "ttl_s": call.ttl_s });
            (fixed, usage_rows(call.rows), vec![], call_fields(&call))
        }
        Operation::COMMIT | Operation::CANCEL => {
            let call = Call::read_longer(body)?;
            let fixed = json!({ "handle": handle(&call), "reservation": number(call.reservation) });
            (fixed, usage_rows(call.rows), vec![], call_fields(&call))
        }
        _ => {
            let call = Call::read(body)?;
            (json!({ "handle": handle(&call) }), usage_rows(call.rows), vec![], call_fields(&call))
        }
    })
}

fn answer(operation: Operation, status: Status, body: &[u8]) -> Result<Parts, WireError> {
    let plain = |fixed| (fixed, vec![], vec![], vec![]);
    if !status.is_done() {
        let failure = Failure::read(body)?;
        let message = Some(failure.message).filter(|text| !text.is_empty());
        let fields = message.map(|text| json!({ "tag": "MESSAGE", "value": text })).into_iter().collect();
        return Ok((json!({ "retry_ms": failure.retry_after_ms }), vec![], vec![], fields));
    }
    Ok(match operation {
        _ if status == Status::CHALLENGE => plain(json!({ "nonce": hex(&Challenge::read(body)?.nonce) })),
        Operation::HELLO | Operation::PROOF => {
            let it = Welcome::read(body)?;
            let fixed = json!({
                "version": it.version, "frame_max": it.frame_max, "window": it.window, "idle_ms": it.idle_ms,
                "features": bits(it.features, &["DURABLE", "IDEMPOTENCY", "RESERVE", "ALL", "PRODUCER"]), "session": number(it.session),
                "node": number(it.node), "time_us": number(it.time_us), "catalog": number(it.catalog_version),
                "mac": hex(&it.proof),
            });
            let name = Some(it.name).filter(|name| !name.is_empty());
            let fields = name.map(|name| json!({ "tag": "NODE", "value": name })).into_iter().collect();
            (fixed, vec![], vec![], fields)
        }
        Operation::AUTHORIZE | Operation::AUTHREP | Operation::CHECK | Operation::RESERVE => {
            let (it, mut fields) = Decision::read(body)?;
            let fixed = json!({
                "yes": it.yes, "marks": bits(it.marks.0.into(), &["COUNTED", "SHADOW", "LIMIT", "BEHIND"]),
                "reason": reason(it.reason), "shadow_reason": reason(it.would_deny), "limit": number(it.limit),
                "maximum": number(it.max), "count": number(it.current), "remaining": number(it.remaining),
                "reset_ms": number(it.reset_ms), "retry_ms": number(it.retry_after_ms),
                "catalog": number(it.catalog_version), "reservation": number(it.reservation),
            });
            (fixed, vec![], vec![], limit_fields(&mut fields)?)
        }
        Operation::REPORT | Operation::COMMIT | Operation::CANCEL => {
            let it = Receipt::read(body)?;
            let outcome = match it.outcome {
                Outcome::Done => "done",
                Outcome::Overrun => "overrun",
                Outcome::Expired => "expired",
            };
            let marks = bits(it.marks.0.into(), &["ON_DISK", "", "", "BEHIND"]);
            plain(json!({ "outcome": outcome, "marks": marks, "catalog": number(it.catalog_version) }))
        }
        Operation::BIND => {
            let it = Bound::read(body)?;
            let fixed = json!({
                "bound": it.reason.is_none(), "reason": reason(it.reason.unwrap_or(0)), "handle": number(it.handle),
                "catalog": number(it.catalog_version),
            });
            (fixed, it.metrics.iter().map(|metric| json!({ "metric": metric })).collect(), vec![], vec![])
        }
        Operation::BATCH => {
            let (done, items) = BatchAnswer::read(body)?;
            let item = |item: &tollgate::wire::ItemAnswer<'_>| {
                let to = Operation(item.operation.0 & !Operation::ANSWER);
                let (fixed, rows, _, fields) = answer(to, item.status, item.body)?;
                Ok(json!({
                    "operation": operation_name(to.0), "answer": true, "flags": [],
                    "status": status_name(item.status), "fixed": fixed, "rows": rows, "fields": fields,
                }))
            };
            let items = items.iter().map(item).collect::<Result<_, WireError>>()?;
            (json!({ "done": done }), vec![], items, vec![])
        }
        Operation::QUERY => query(&QueryAnswer::read(body)?),
        Operation::PING => {
            let it = Pong::read(body)?;
            plain(json!({ "time_us": number(it.time_us), "catalog": number(it.catalog_version) }))
        }
        Operation::STATS => {
            let it = Stats::read(body)?;
            plain(json!({
                "behind": it.degraded, "uptime_s": number(it.uptime_s), "connections": number(it.connections),
                "frames": number(it.frames), "decisions": number(it.decisions), "denied": number(it.denied),
                "applications": number(it.applications), "catalog": number(it.catalog_version),
                "unflushed_us": number(it.unflushed_us),
            }))
        }
        Operation::GOAWAY => {
            let it = Goodbye::read(body)?;
            let why = [
                "",
                "stops",
                "another takes over",
                "protocol",
                "idle",
                "does not read",
                "handshake",
                "no room",
            ];
            let message = Failure::read(body)?.message;
            let fields =
                if message.is_empty() { vec![] } else { vec![json!({ "tag": "MESSAGE", "value": message })] };
            (json!({ "why": why[usize::from(it.reason)], "close_ms": it.grace_ms }), vec![], vec![], fields)
        }
        _ => plain(json!({})),
    })
}

fn limit_fields(fields: &mut Fields<'_>) -> Result<Vec<Value>, WireError> {
    let mut found = Vec::new();
    while let Some((tag, value)) = fields.take()? {
        if let (Tag::LIMIT, Some(row)) = (tag, value.first_chunk()) {
            found.push(json!({ "tag": "LIMIT", "value": limit_row(&LimitRow::read(row)) }));
        }
    }
    Ok(found)
}

fn query(it: &QueryAnswer) -> Parts {
    let fixed = json!({
        "active": it.active, "reservations": it.reservations, "catalog": number(it.catalog_version),
        "time_us": number(it.time_us),
    });
    let mut rows: Vec<_> = it.limits.iter().map(limit_row).collect();
    for usage in &it.usage {
        let mut row = Map::from_iter([("metric".to_owned(), json!(usage.metric))]);
        row.extend(
            PERIODS.iter().zip(usage.counts).map(|(period, count)| ((*period).to_owned(), number(count))),
        );
        rows.push(Value::Object(row));
    }
    let name = |(number, name): &(u32, String)| json!({ "tag": "METRIC", "value": { "metric": number, "name": name } });
    (fixed, rows, vec![], it.metrics.iter().map(name).collect())
}

fn operation_name(number: u8) -> String {
    let known = OPERATIONS.iter().find(|(it, _)| *it == number);
    known.map_or_else(|| format!("0x{number:02X}"), |(_, name)| (*name).to_owned())
}

fn flags(flags: Flags) -> Value {
    bits(flags.0.into(), &["FLAT", "LIMITS", "DURABLE", "INTERVAL", "OAUTH", "ALL"])
}

const STATUSES: [(Status, &str); 36] = [
    (Status::OK, "OK"),
    (Status::DUPLICATE, "DUPLICATE"),
    (Status::CHALLENGE, "CHALLENGE"),
    (Status::MALFORMED, "MALFORMED"),
    (Status::UNKNOWN_OPERATION, "UNKNOWN_OPERATION"),
    (Status::TOO_LARGE, "TOO_LARGE"),
    (Status::NOT_SUPPORTED, "NOT_SUPPORTED"),
    (Status::OUT_OF_PLACE, "OUT_OF_PLACE"),
    (Status::STALE_HANDLE, "STALE_HANDLE"),
    (Status::SERVICE_ID_MISSING, "SERVICE_ID_MISSING"),
    (Status::SERVICE_ID_INVALID, "SERVICE_ID_INVALID"),
    (Status::AUTHENTICATION_ERROR, "AUTHENTICATION_ERROR"),
    (Status::USER_KEY_INVALID, "USER_KEY_INVALID"),
    (Status::APPLICATION_NOT_FOUND, "APPLICATION_NOT_FOUND"),
    (Status::METRIC_INVALID, "METRIC_INVALID"),
    (Status::USAGE_VALUE_INVALID, "USAGE_VALUE_INVALID"),
    (Status::TIMESTAMP_TOO_OLD, "TIMESTAMP_TOO_OLD"),
    (Status::TIMESTAMP_TOO_NEW, "TIMESTAMP_TOO_NEW"),
    (Status::NOT_VALID_DATA, "NOT_VALID_DATA"),
    (Status::RESERVATION_UNKNOWN, "RESERVATION_UNKNOWN"),
    (Status::TOO_MANY_RESERVATIONS, "TOO_MANY_RESERVATIONS"),
    (Status::TTL_INVALID, "TTL_INVALID"),
    (Status::NOT_DONE, "NOT_DONE"),
    (Status::PROOF_INVALID, "PROOF_INVALID"),
    (Status::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED"),
    (Status::WAIT, "WAIT"),
    (Status::TENANT_SUSPENDED, "TENANT_SUSPENDED"),
    (Status::OVERLOADED, "OVERLOADED"),
    (Status::DRAINING, "DRAINING"),
    (Status::STORAGE_UNAVAILABLE, "STORAGE_UNAVAILABLE"),
    (Status::TOO_MUCH_FUTURE_USAGE, "TOO_MUCH_FUTURE_USAGE"),
    (Status::INTERNAL, "INTERNAL"),
    (Status::NOT_DURABLE, "NOT_DURABLE"),
    (Status::IDEMPOTENCY_CONFLICT, "IDEMPOTENCY_CONFLICT"),
    (Status::IDEMPOTENCY_FULL, "IDEMPOTENCY_FULL"),
    (Status::SEQUENCE_TOO_OLD, "SEQUENCE_TOO_OLD"),
];

fn status_name(status: Status) -> String {
    let known = STATUSES.iter().find(|(it, _)| *it == status);
    known.map_or_else(|| format!("0x{:04X}", status.0), |(_, name)| (*name).to_owned())
}

/// The frame as goldens tell of it.
fn meaning(header: &Header, body: &[u8]) -> Result<Value, WireError> {
    let is_answer = header.operation.0 & Operation::ANSWER != 0;
    let operation = Operation(header.operation.0 & !Operation::ANSWER);
    let (fixed, rows, items, fields) = if is_answer {
        answer(operation, header.status, body)?
    } else {
        header.flags.check(operation)?;
        request(operation, body)?
    };
    Ok(json!({
        "operation": operation_name(operation.0), "answer": is_answer, "flags": flags(header.flags),
        "status": status_name(header.status), "id": number(header.id), "fixed": fixed, "rows": rows, "items": items,
        "fields": fields,
    }))
}

/// What a reader of this version leaves out.
fn known(mut meaning: Value) -> Value {
    // Goldens name flags in any order; here it is that of their bits.
    let order = |flag: &Value| {
        let names = ["FLAT", "LIMITS", "DURABLE", "INTERVAL", "OAUTH", "ALL"];
        names.iter().position(|name| flag == name)
    };
    meaning["flags"].as_array_mut().unwrap().sort_by_key(order);
    let is_known = |field: &Value| field["tag"].is_string();
    meaning["fields"].as_array_mut().unwrap().retain(is_known);
    meaning
}

#[test]
fn golden_frames_are_read_as_they_are_meant() {
    let mut wrong = Vec::new();
    for golden in golden("frames.json").as_array().unwrap() {
        let (name, bytes) = (golden["name"].as_str().unwrap(), unhex(golden["hex"].as_str().unwrap()));
        let read = split(&bytes, FRAME_MAX_DEFAULT).and_then(|found| {
            let (header, body) = found.expect("a whole frame");
            assert_eq!(Frame::request(&mut Vec::new(), header.operation, header.flags, 0).end(), HEADER_LEN);
            meaning(&header, body)
        });
        let has_meaning = golden.get("meaning").filter(|meaning| meaning.get("body").is_none());
        if golden["error"] == "UNKNOWN_OPERATION" {
            // Its operation is not known, so nobody reads its body.
            continue;
        }
        let refused = golden.get("error").is_some() && golden["meaning"]["operation"] != "GOAWAY";
        match (read, has_meaning) {
            (Ok(read), Some(meaning)) if read == known(meaning.clone()) => {}
            (Err(error), _) if refused && golden["from"] == "client" => {
                let status = status_name(error.status());
                if golden["error"] != "GOAWAY" && golden["error"] != status.as_str() {
                    wrong.push(format!("{name}: {status} instead of {}", golden["error"]));
                }
            }
            (Err(_), _) if refused => {}
            // An answer of an operation or status that is not known.
            (_, None) if golden.get("meaning").is_some() => {}
            (read, _) => wrong.push(format!("{name}: {read:?}\n   instead of {golden}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A request, written anew from what was read of it.
fn written(header: &Header, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let operation = Operation(header.operation.0 & !Operation::ANSWER);
    let is_answer = operation != header.operation;
    let mut frame = if is_answer {
        Frame::answer(&mut out, operation, header.status, header.id)
    } else {
        Frame::request(&mut out, operation, header.flags, header.id)
    };
    if is_answer {
        write_answer(frame.body(), operation, header.status, body);
    } else if operation == Operation::BATCH {
        let items: Vec<_> = Items::read(body).unwrap().collect();
        put_batch(
            frame.body(),
            items.iter().map(|item| {
                let put = |out: &mut Vec<u8>| write_request(out, item.operation, item.body);
                (item.operation, item.flags, put)
            }),
        );
    } else {
        write_request(frame.body(), operation, body);
    }
    frame.end();
    out
}

fn write_request(out: &mut Vec<u8>, operation: Operation, body: &[u8]) {
    match operation {
        Operation::HELLO => Hello::read(body).unwrap().put(out),
        Operation::PROOF => Proof::read(body).unwrap().put(out),
        Operation::BIND => put_bind(out, &Call::read_bind(body).unwrap()),
        Operation::PING | Operation::STATS => {}
        Operation::RESERVE | Operation::COMMIT | Operation::CANCEL => {
            let mut call = Call::read_longer(body).unwrap();
            if operation != Operation::RESERVE {
                call.ttl_s = 0;
            }
            put_call(out, &call, &call.rows.iter().collect::<Vec<_>>(), true);
        }
        _ => {
            let call = Call::read(body).unwrap();
            put_call(out, &call, &call.rows.iter().collect::<Vec<_>>(), false);
        }
    }
}

fn write_answer(out: &mut Vec<u8>, operation: Operation, status: Status, body: &[u8]) {
    if !status.is_done() {
        let failure = Failure::read(body).unwrap();
        let message = Some(failure.message.as_str()).filter(|text| !text.is_empty());
        return Failure::put(out, failure.retry_after_ms, message);
    }
    match operation {
        _ if status == Status::CHALLENGE => Challenge::read(body).unwrap().put(out),
        Operation::HELLO | Operation::PROOF => Welcome::read(body).unwrap().put(out),
        Operation::AUTHORIZE | Operation::AUTHREP | Operation::CHECK | Operation::RESERVE => {
            let (decision, mut fields) = Decision::read(body).unwrap();
            decision.put(out);
            while let Some((_, value)) = fields.take().unwrap() {
                LimitRow::read(value.first_chunk().unwrap()).put_field(out);
            }
        }
        Operation::REPORT | Operation::COMMIT | Operation::CANCEL => Receipt::read(body).unwrap().put(out),
        Operation::BIND => Bound::read(body).unwrap().put(out),
        Operation::QUERY => QueryAnswer::read(body).unwrap().put(out),
        Operation::PING => Pong::read(body).unwrap().put(out),
        Operation::STATS => Stats::read(body).unwrap().put(out),
        Operation::BATCH => {
            let (done, items) = BatchAnswer::read(body).unwrap();
            let mut batch = BatchAnswer::begin(out);
            for item in items {
                let to = Operation(item.operation.0 & !Operation::ANSWER);
                batch.item(to, item.status, |out| write_answer(out, to, item.status, item.body));
            }
            batch.end(done);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn golden_frames_are_written_as_they_are() {
    let mut wrong = Vec::new();
    for golden in golden("frames.json").as_array().unwrap() {
        if golden.get("decode_only").is_some() || golden.get("error").is_some() {
            continue;
        }
        let bytes = unhex(golden["hex"].as_str().unwrap());
        let (header, body) = split(&bytes, FRAME_MAX_DEFAULT).unwrap().unwrap();
        let again = if header.operation == Operation::GOAWAY.answer() {
            let mut out = Vec::new();
            Goodbye::read(body).unwrap().put_frame(&mut out, &Failure::read(body).unwrap().message);
            out
        } else {
            written(&header, body)
        };
        if again != bytes {
            wrong.push(format!("{}: {} instead of {}", golden["name"], hex(&again), golden["hex"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn proofs_are_of_the_texts_that_the_specification_says() {
    for golden in golden("handshake.json").as_array().unwrap() {
        let frames = golden["frames"].as_array().unwrap();
        let bytes: Vec<_> = frames.iter().map(|frame| unhex(frame["hex"].as_str().unwrap())).collect();
        let bodies: Vec<_> = bytes.iter().map(|it| split(it, FRAME_MAX_DEFAULT).unwrap().unwrap()).collect();
        let (Some(proof), Some(secret)) = (golden["proof"].as_str(), golden["secret"].as_str()) else {
            continue;
        };
        let hello = Hello::read(bodies[0].1).unwrap();
        let nonce = Challenge::read(bodies[1].1).unwrap().nonce;
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
        assert_eq!(hex(ring::hmac::sign(&key, &proof_text(&hello, &nonce)).as_ref()), proof);
        let own = golden["server_proof"].as_str().unwrap();
        assert_eq!(hex(ring::hmac::sign(&key, &server_proof_text(&hello.nonce, &nonce)).as_ref()), own);
    }
}
