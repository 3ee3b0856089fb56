//! Meanings of frames, as the golden files write them down.

use serde_json::{Map, Value, json};
use tollgate_client::codec::{
    Answer, Call, Decision, Fields, Frame, GoawayReason, LimitRow, Method, NEVER, Numbered, Operation,
    Outcome, Reason, Receipt, Refusal, Request, Status, UsageCounts, UsageRow,
};

/// Numbers beyond 2^53 are decimal texts, and 2^64-1 has a name.
fn number(number: u64) -> Value {
    match number {
        NEVER => json!("never"),
        beyond if beyond > 1 << 53 => json!(beyond.to_string()),
        within => json!(within),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Names of the bits that are set, lowest first.
fn names(bits: u64, names: &[(u64, &str)]) -> Value {
    names.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| json!(name)).collect()
}

fn flags(bits: u8) -> Value {
    let all = [(1, "FLAT"), (2, "LIMITS"), (4, "DURABLE"), (8, "INTERVAL"), (16, "OAUTH"), (32, "ALL")];
    names(bits.into(), &all)
}

fn features(bits: u64) -> Value {
    names(bits, &[(1, "DURABLE"), (2, "IDEMPOTENCY"), (4, "RESERVE"), (8, "ALL"), (16, "PRODUCER")])
}

fn operation(number: u8) -> String {
    let known =
        Operation::from_number(number & 0x7F).map(|operation| format!("{operation:?}").to_uppercase());
    known.unwrap_or_else(|| format!("0x{:02X}", number & 0x7F))
}

fn status(status: Status) -> String {
    status.name().map_or_else(|| format!("0x{:04X}", status.0), str::to_owned)
}

fn reason(reason: Option<Reason>) -> Value {
    reason.map_or(Value::Null, |reason| json!(reason.code()))
}

fn method(method: Method) -> &'static str {
    match method {
        Method::None => "none",
        Method::NodeSecret => "node secret",
        Method::ServiceToken => "service token",
    }
}

fn why(reason: GoawayReason) -> &'static str {
    match reason {
        GoawayReason::Stops => "stops",
        GoawayReason::HandsOver => "another takes over",
        GoawayReason::ProtocolBroken => "protocol",
        GoawayReason::Idle => "idle",
        GoawayReason::NotRead => "does not read",
        GoawayReason::HandshakeTooSlow => "handshake",
        GoawayReason::NoRoom => "no room",
        GoawayReason::Other(_) => "?",
    }
}

/// What a body says, in its parts.
#[derive(Default)]
struct Parts {
    fixed: Map<String, Value>,
    rows: Vec<Value>,
    items: Vec<Value>,
    fields: Vec<Value>,
}

impl Parts {
    fn new(fixed: Value) -> Parts {
        let Value::Object(fixed) = fixed else { panic!("a fixed part is an object") };
        Parts { fixed, ..Parts::default() }
    }

    fn rows(mut self, rows: impl Iterator<Item = Value>) -> Parts {
        self.rows.extend(rows);
        self
    }

    fn fields(mut self, all: &Fields<'_>) -> Parts {
        self.fields = fields(all);
        self
    }

    /// The whole meaning. Items have no id, and no items.
    fn whole(self, number: u8, bits: u8, answered: Status, id: Option<u64>) -> Value {
        let mut whole = json!({
            "operation": operation(number), "answer": number & 0x80 != 0, "flags": flags(bits),
            "status": status(answered), "fixed": self.fixed, "rows": self.rows, "fields": self.fields,
        });
        if let Some(id) = id {
            whole["id"] = self::number(id);
            whole["items"] = self.items.into();
        }
        whole
    }
}

fn fields(fields: &Fields<'_>) -> Vec<Value> {
    let mut all = Vec::new();
    let mut add = |tag: &str, value: Value| all.push(json!({"tag": tag, "value": value}));
    let texts = [
        ("CLIENT", fields.client),
        ("SERVICE", fields.service),
        ("USER_KEY", fields.user_key),
        ("APP_ID", fields.app_id),
        ("APP_KEY", fields.app_key),
        ("REFERRER", fields.referrer),
    ];
    texts
        .iter()
        .filter_map(|(tag, text)| Some((tag, (*text)?)))
        .for_each(|(tag, text)| add(tag, json!(text)));
    for usage in &fields.usage {
        let kind = if usage.sets { "sets" } else { "adds" };
        add("USAGE", json!({"kind": kind, "amount": number(usage.amount), "name": usage.metric}));
    }
    fields.timestamp.iter().for_each(|seconds| add("TIMESTAMP", json!(seconds)));
    fields.log_code.iter().for_each(|code| add("LOG_CODE", json!(code)));
    fields.idempotency.iter().for_each(|id| add("IDEMPOTENCY", json!({"hex": hex(id)})));
    fields.numbered.iter().for_each(|Numbered { producer, sequence }| {
        add("PRODUCER", json!({"sequence": sequence, "hex": hex(producer)}));
    });
    fields.redirect_uri.iter().for_each(|uri| add("REDIRECT_URI", json!(uri)));
    fields.redirect_url.iter().for_each(|url| add("REDIRECT_URL", json!(url)));
    fields.metrics.iter().for_each(|name| add("METRIC", json!(name)));
    for metric in &fields.metric_names {
        add("METRIC", json!({"metric": metric.number, "name": metric.name}));
    }
    fields.message.iter().for_each(|message| add("MESSAGE", json!(message)));
    fields.limits.iter().for_each(|limit| add("LIMIT", limit_row(limit)));
    fields.node.iter().for_each(|node| add("NODE", json!(node)));
    all
}

fn usage_row(row: &UsageRow) -> Value {
    let kind = if row.sets { "sets" } else { "adds" };
    json!({"metric": row.metric, "kind": kind, "amount": number(row.amount)})
}

fn limit_row(row: &LimitRow) -> Value {
    json!({
        "limit": number(row.id), "metric": row.metric, "period": format!("{:?}", row.period).to_lowercase(),
        "marks": names(row.shadow.into(), &[(1, "SHADOW")]), "maximum": number(row.maximum),
        "count": number(row.count), "held": number(row.held), "reset_ms": number(row.window_ends_ms),
    })
}

fn counts_row(row: &UsageCounts) -> Value {
    let [eternity, year, month, week, day, hour, minute] = row.counts.map(number);
    json!({
        "metric": row.metric, "eternity": eternity, "year": year, "month": month, "week": week, "day": day,
        "hour": hour, "minute": minute,
    })
}

/// A call with what its operation adds to the fixed part.
fn call(call: &Call<'_>, more: &[(&str, Value)]) -> Parts {
    let mut parts = Parts::new(json!({"handle": number(call.handle)}));
    parts.fixed.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    parts.rows(call.rows.iter().map(usage_row)).fields(&call.fields)
}

fn asked(request: &Request<'_>) -> Parts {
    match request {
        Request::Hello(hello) => Parts::new(json!({
            "method": method(hello.method), "lowest": hello.version_min, "highest": hello.version_max,
            "frame_max": hello.frame_max, "window": hello.window, "features": features(hello.features),
            "nonce": hex(&hello.nonce),
        }))
        .fields(&hello.fields),
        Request::Proof(proof) => Parts::new(json!({"mac": hex(&proof.mac)})),
        Request::Ping | Request::Stats | Request::Goaway => Parts::default(),
        Request::Authorize(it) | Request::Authrep(it) | Request::Report(it) => call(it, &[]),
        Request::Check(it) | Request::Query(it) => call(it, &[]),
        Request::Bind(bind) => Parts::default().fields(&bind.fields),
        Request::Reserve(reserve) => call(&reserve.call, &[("ttl_s", json!(reserve.ttl_s))]),
        Request::Commit(settle) | Request::Cancel(settle) => {
            call(&settle.call, &[("reservation", number(settle.reservation))])
        }
        Request::Batch(batch) => {
            let item = |item: &tollgate_client::codec::BatchItem<'_>| {
                let request = Request::decode(item.operation, item.body).expect("an item");
                asked(&request).whole(item.operation, item.flags, Status::OK, None)
            };
            Parts { items: batch.items.iter().map(item).collect(), ..Parts::default() }
        }
    }
}

fn decision(decision: &Decision) -> Parts {
    let limit = decision.limit;
    let of_limit = |part: fn(tollgate_client::codec::BindingLimit) -> u64| number(limit.map_or(0, part));
    let marks = [
        (decision.counted, "COUNTED"),
        (decision.shadowed, "SHADOW"),
        (limit.is_some(), "LIMIT"),
        (decision.behind, "BEHIND"),
    ];
    let marks: Vec<_> = marks.iter().filter(|(set, _)| *set).map(|(_, name)| name).collect();
    Parts::new(json!({
        "yes": decision.allowed, "marks": marks, "reason": reason(decision.reason),
        "shadow_reason": reason(decision.shadow_reason), "limit": of_limit(|limit| limit.id),
        "maximum": of_limit(|limit| limit.maximum), "count": of_limit(|limit| limit.count),
        "remaining": number(decision.remaining), "reset_ms": of_limit(|limit| limit.window_ends_ms),
        "retry_ms": number(decision.retry_after_ms), "catalog": number(decision.catalog_version),
        "reservation": number(decision.reservation),
    }))
    .fields(&Fields { limits: decision.limits.clone(), ..Fields::default() })
}

fn receipt(receipt: &Receipt) -> Parts {
    let outcome = match receipt.outcome {
        Outcome::Done => "done",
        Outcome::Overrun => "overrun",
        Outcome::Expired => "expired",
    };
    let marks = [(receipt.on_disk, "ON_DISK"), (receipt.behind, "BEHIND")];
    let marks: Vec<_> = marks.iter().filter(|(set, _)| *set).map(|(_, name)| name).collect();
    Parts::new(json!({"outcome": outcome, "marks": marks, "catalog": number(receipt.catalog_version)}))
}

fn refusal(refusal: &Refusal) -> Parts {
    let message = refusal.message.as_deref();
    Parts::new(json!({"retry_ms": refusal.retry_after_ms})).fields(&Fields { message, ..Fields::default() })
}

fn answered(answer: &Answer<'_>) -> Parts {
    match answer {
        Answer::Refused(it) => refusal(it),
        Answer::Challenge(challenge) => Parts::new(json!({"nonce": hex(&challenge.nonce)})),
        Answer::Welcome(welcome) => Parts::new(json!({
            "version": welcome.version, "frame_max": welcome.frame_max, "window": welcome.window,
            "idle_ms": welcome.idle_ms, "features": features(welcome.features), "session": number(welcome.session),
            "node": number(welcome.node), "time_us": number(welcome.time_us),
            "catalog": number(welcome.catalog_version), "mac": hex(&welcome.mac),
        }))
        .fields(&welcome.fields),
        Answer::Pong(pong) => {
            Parts::new(json!({"time_us": number(pong.time_us), "catalog": number(pong.catalog_version)}))
        }
        Answer::Stats(stats) => Parts::new(json!({
            "behind": stats.behind, "uptime_s": number(stats.uptime_s), "connections": number(stats.connections),
            "frames": number(stats.frames), "decisions": number(stats.decisions), "denied": number(stats.denied),
            "applications": number(stats.applications), "catalog": number(stats.catalog_version),
            "unflushed_us": number(stats.unflushed_us),
        })),
        Answer::Goaway(goaway) => {
            let message = goaway.message.as_deref();
            Parts::new(json!({"why": why(goaway.reason), "close_ms": goaway.closes_ms}))
                .fields(&Fields { message, ..Fields::default() })
        }
        Answer::Decision(it) => decision(it),
        Answer::Receipt(it) => receipt(it),
        Answer::Bound(bound) => Parts::new(json!({
            "bound": bound.bound, "reason": reason(bound.reason), "handle": number(bound.handle),
            "catalog": number(bound.catalog_version),
        }))
        .rows(bound.metrics.iter().map(|metric| json!({"metric": metric}))),
        Answer::Batch(batch) => {
            let item = |item: &tollgate_client::codec::BatchAnswerItem<'_>| {
                let answer = Answer::decode(item.operation, item.status, item.body).expect("an item");
                answered(&answer).whole(item.operation, 0, item.status, None)
            };
            let parts = Parts::new(json!({"done": batch.done}));
            Parts { items: batch.items.iter().map(item).collect(), ..parts }
        }
        Answer::Standing(standing) => {
            let names = standing.metrics.iter().map(|(number, name)| tollgate_client::codec::MetricName {
                number: *number,
                name,
            });
            Parts::new(json!({
                "active": standing.active, "reservations": standing.open_reservations,
                "catalog": number(standing.catalog_version), "time_us": number(standing.time_us),
            }))
            .rows(standing.limits.iter().map(limit_row))
            .rows(standing.usage.iter().map(counts_row))
            .fields(&Fields { metric_names: names.collect(), ..Fields::default() })
        }
    }
}

/// What a request means.
pub(crate) fn of_request(frame: &Frame, request: &Request<'_>) -> Value {
    let head = frame.head;
    let mut meaning = asked(request).whole(head.operation, head.flags, head.status, Some(head.id));
    if matches!(request, Request::Goaway) {
        // It has no body in requests, so its meaning has the bytes.
        meaning["body"] = json!(hex(&frame.body));
    }
    meaning
}

/// What an answer means.
pub(crate) fn of_answer(frame: &Frame, answer: &Answer<'_>) -> Value {
    let head = frame.head;
    answered(answer).whole(head.operation, head.flags, head.status, Some(head.id))
}
