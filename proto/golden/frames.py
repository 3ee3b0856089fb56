"""The frames of frames.json."""

from layout import (
    STATUSES,
    adds,
    answer,
    as_item,
    decision,
    error,
    frame,
    number,
    request,
    sets,
    usage,
)

HANDLE = 0x0102030405060708
NODE_TIME_US = 1_795_348_800_000_000
NONCE, MAC = bytes(range(32)).hex(), bytes(range(255, 223, -1)).hex()

MINUTE_LIMIT = {
    "limit": 77, "metric": 3, "period": "minute", "marks": [], "maximum": 10, "count": 4, "held": 1, "reset_ms": 59_999,
}  # fmt: skip
ETERNITY_LIMIT = {
    "limit": 78, "metric": 4, "period": "eternity", "marks": ["SHADOW"], "maximum": 2**63 - 1, "count": 2**53 + 1,
    "held": 0, "reset_ms": "never",
}  # fmt: skip
COUNTS = {
    "metric": 3, "eternity": "18446744073709551614", "year": 600, "month": 500, "week": 400, "day": 300, "hour": 200,
    "minute": 4,
}  # fmt: skip

entries = []


def add(name, from_, meaning, extra="", **more):
    """An entry with a meaning; `extra` lengthens its fixed part."""
    entries.append({"name": name, "from": from_, "hex": frame(meaning, extra), "meaning": meaning} | more)


def add_bytes(name, from_, hex_, error=None, **more):
    """An entry that no meaning can be turned into."""
    entries.append({"name": name, "from": from_, "hex": hex_} | ({"error": error} if error else {}) | more)


def client(name, meaning, **more):
    add(name, "client", meaning, **more)


def node(name, meaning, **more):
    add(name, "node", meaning, **more)


def header(length, code, flags=0, status=0, id_=1):
    return (
        number(length, "I") + number(code, "B") + number(flags, "B") + number(status, "H") + number(id_, "Q")
    )


def with_body(code, behind, flags=0):
    return header(16 + len(behind) // 2, code, flags) + behind


def handshake():
    hello = {"lowest": 1, "highest": 1, "frame_max": 65_536, "window": 256, "features": [], "nonce": NONCE}
    client("hello, no credentials", request("HELLO", method="none", **hello))
    client(
        "hello, node secret",
        request("HELLO", 2, fields=[("CLIENT", "gateway 1.2")], method="node secret", **hello),
    )
    wanted = hello | {
        "highest": 3,
        "frame_max": 1_048_576,
        "window": 1,
        "features": ["DURABLE", "RESERVE", "ALL"],
    }
    client(
        "hello, service token",
        request(
            "HELLO",
            0,
            fields=[("CLIENT", "gateway 1.2"), ("SERVICE", "7001")],
            method="service token",
            **wanted,
        ),
    )
    node("challenge", answer("HELLO", 2, "CHALLENGE", nonce=NONCE))
    client("proof", request("PROOF", 3, mac=MAC))
    welcome = {
        "version": 1, "frame_max": 65_536, "window": 256, "idle_ms": 60_000, "features": ["DURABLE", "RESERVE", "ALL"],
        "session": 9, "node": "13835058055282163712", "time_us": NODE_TIME_US, "catalog": 41, "mac": MAC,
    }  # fmt: skip
    node("welcome after a proof", answer("PROOF", 3, fields=[("NODE", "tollgate 0.2")], **welcome))
    node("welcome without a proof", answer("HELLO", 1, **(welcome | {"mac": "00" * 32, "features": []})))


def plain():
    client("ping", request("PING", 5))
    client("ping with the largest id", request("PING", "18446744073709551615"))
    add_bytes(
        "ping with a body, which is ignored", "client", header(19, 0x05, id_=5) + "010203", decode_only=True
    )
    entries[-1]["meaning"] = request("PING", 5)
    node("pong", answer("PING", 5, time_us=NODE_TIME_US, catalog=41))
    client("stats", request("STATS", 6))
    stats = {
        "behind": False, "uptime_s": 3600, "connections": 16, "frames": 2**40, "decisions": 2**40 + 5, "denied": 12,
        "applications": 100_000, "catalog": 41, "unflushed_us": 49_000,
    }  # fmt: skip
    node("stats answered", answer("STATS", 6, **stats))
    reasons = ["stops", "another takes over", "protocol", "idle", "does not read", "handshake", "no room"]
    for why in reasons:
        node(f"goaway: {why}", answer("GOAWAY", 0, why=why, close_ms=5000 if why in reasons[:2] else 0))
    node(
        "goaway with a message",
        answer("GOAWAY", 0, fields=[("MESSAGE", "Tschüß")], why="stops", close_ms=5000),
    )
    client(
        "goaway from a client, which is out of place",
        request("GOAWAY", 7) | {"body": ""},
        decode_only=True,
        error="OUT_OF_PLACE",
    )


def calls():
    for operation in ["AUTHORIZE", "AUTHREP", "CHECK", "REPORT"]:
        name = operation.lower()
        client(f"{name} by handle", request(operation, 11, handle=HANDLE, rows=[adds(3, 1)]))
        fields = [("SERVICE", "7001"), ("USER_KEY", "uk-1"), usage("hits", 1)]
        client(f"{name} by user key", request(operation, 12, fields=fields))
    client("authrep without usage", request("AUTHREP", 13, handle=HANDLE))
    rows = [adds(3, 2**63), sets(0x7FFFFFFF, 0), adds(0, "18446744073709551615")]
    client("authrep with rows that add and set", request("AUTHREP", 13, handle=HANDLE, rows=rows))
    client(
        "authrep with 255 rows", request("AUTHREP", 13, handle=HANDLE, rows=[adds(n, n) for n in range(255)])
    )
    fields = [
        ("SERVICE", "7002"), ("APP_ID", "app-1"), ("APP_KEY", "key-1"), ("REFERRER", "www.example.org"),
        usage("hits", 1), usage("bytes", "18446744073709551615", "sets"), ("LOG_CODE", "200"),
    ]  # fmt: skip
    client("authrep by app id with all that goes with it", request("AUTHREP", 14, fields=fields))
    client(
        "authrep with an empty app key", request("AUTHREP", 14, fields=[("APP_ID", "app-1"), ("APP_KEY", "")])
    )
    client("authrep by fields, usage in rows", request("AUTHREP", 15, fields=fields[:3], rows=[adds(3, 1)]))
    client("authrep by handle with a referrer", request("AUTHREP", 15, fields=[fields[3]], handle=HANDLE))
    client(
        "authrep in UTF-8", request("AUTHREP", 15, fields=[("USER_KEY", "Schlüssel ☃"), usage("größe", 1)])
    )
    oauth = [
        ("APP_ID", "app-1"),
        ("REDIRECT_URI", "https://example.org/a"),
        ("REDIRECT_URL", "https://example.org/b"),
    ]
    client("authorize for OAuth", request("AUTHORIZE", 16, ["OAUTH"], oauth))
    client("authrep for OAuth", request("AUTHREP", 16, ["OAUTH"], oauth[:1]))
    client(
        "report with a time and a code",
        request(
            "REPORT",
            17,
            fields=[("TIMESTAMP", 1_795_348_700), ("LOG_CODE", "503")],
            handle=HANDLE,
            rows=[adds(3, 1)],
        ),
    )
    client("report before 1970", request("REPORT", 17, fields=[("TIMESTAMP", -1)], handle=HANDLE))
    client(
        "authrep with an idempotency id",
        request("AUTHREP", 18, fields=[("IDEMPOTENCY", {"hex": "00ff01"})], handle=HANDLE, rows=[adds(3, 1)]),
    )
    client(
        "authrep with a producer's number",
        request(
            "AUTHREP",
            18,
            fields=[("PRODUCER", {"sequence": 70_000, "hex": "00ff01"})],
            handle=HANDLE,
            rows=[adds(3, 1)],
        ),
    )
    for operation, flags in [
        ("AUTHORIZE", ["FLAT", "LIMITS"]),
        ("AUTHREP", ["FLAT"]),
        ("AUTHREP", ["LIMITS"]),
        ("AUTHREP", ["DURABLE"]),
        ("AUTHREP", ["INTERVAL"]),
        ("CHECK", ["FLAT", "LIMITS"]),
        ("REPORT", ["FLAT", "INTERVAL"]),
        ("REPORT", ["DURABLE"]),
    ]:
        name = f"{operation.lower()} with {' and '.join(flags)}"
        client(name, request(operation, 19, flags, handle=HANDLE, rows=[adds(3, 1)]))


def decisions():
    yes = {
        "limit": 77, "maximum": 10, "count": 4, "remaining": 6, "reset_ms": 59_999, "catalog": 41,
        "marks": ["COUNTED", "LIMIT"],
    }  # fmt: skip
    no = yes | {"yes": False, "marks": ["LIMIT"], "reason": "limits_exceeded", "count": 10, "remaining": 0}
    node("authrep: yes", decision("AUTHREP", 11, **yes))
    node("authorize: yes, no limit concerns it", decision("AUTHORIZE", 11, catalog=41))
    node("check: yes", decision("CHECK", 11, **(yes | {"marks": ["LIMIT"]})))
    node("authrep: no, for another 59,999 ms", decision("AUTHREP", 11, **no, retry_ms=59_999))
    never = {"maximum": 0, "count": 0, "reset_ms": "never", "retry_ms": "never"}
    node("authrep: no, the metric is disabled", decision("AUTHREP", 11, **(no | never)))
    marks = ["COUNTED", "SHADOW", "LIMIT", "BEHIND"]
    node(
        "authrep: yes, all marks",
        decision("AUTHREP", 11, **(yes | {"marks": marks}), shadow_reason="limits_exceeded"),
    )
    for reason in [
        "application_key_invalid", "referrer_not_allowed", "application_not_active", "service_not_active",
        "oauth_not_enabled", "redirect_uri_invalid", "redirect_url_invalid",
    ]:  # fmt: skip
        node(f"authrep: no, {reason}", decision("AUTHREP", 11, yes=False, reason=reason, catalog=41))
    limits = [("LIMIT", MINUTE_LIMIT), ("LIMIT", ETERNITY_LIMIT)]
    node("authrep: yes, with limits", decision("AUTHREP", 11, limits, **yes))
    node("reserve: yes", decision("RESERVE", 31, **yes, reservation="12297829382473034410"))
    node("reserve: no", decision("RESERVE", 31, **no, retry_ms=59_999))
    for operation, outcomes in [
        ("REPORT", ["done"]),
        ("COMMIT", ["done", "overrun", "expired"]),
        ("CANCEL", ["done", "expired"]),
    ]:
        for outcome in outcomes:
            done = answer(operation, 17, outcome=outcome, marks=["ON_DISK"], catalog=41)
            node(f"{operation.lower()}: {outcome}", done)
    node("report: not on disk", answer("REPORT", 17, outcome="done", marks=[], catalog=41))
    node("report: behind", answer("REPORT", 17, outcome="done", marks=["ON_DISK", "BEHIND"], catalog=41))
    repeated = answer("REPORT", 17, "DUPLICATE", outcome="done", marks=["ON_DISK"], catalog=41)
    node("report: done before", repeated, decode_only=True)


def binding():
    fields = [("SERVICE", "7001"), ("USER_KEY", "uk-1"), ("METRIC", "hits"), ("METRIC", "bytes")]
    client("bind by user key", request("BIND", 21, fields=fields))
    by_id = [("APP_ID", "app-1"), ("APP_KEY", "key-1")]
    client("bind by app id, without metrics", request("BIND", 21, fields=by_id))
    bound = answer(
        "BIND", 21, bound=True, reason=None, handle=HANDLE, catalog=41, rows=[{"metric": 3}, {"metric": 4}]
    )
    node("bound", bound)
    node(
        "bound, without metrics",
        answer("BIND", 21, bound=True, reason=None, handle="18446744073709551614", catalog=41),
    )
    node("not bound", answer("BIND", 21, bound=False, reason="application_key_invalid", handle=0, catalog=41))


def reservations():
    client("reserve", request("RESERVE", 31, handle=HANDLE, rows=[adds(3, 5)], ttl_s=60))
    fields = [("USER_KEY", "uk-1"), usage("hits", 5)]
    client("reserve by user key", request("RESERVE", 31, ["LIMITS", "DURABLE"], fields, ttl_s=3600))
    kept = {"handle": HANDLE, "reservation": "12297829382473034410"}
    client("commit", request("COMMIT", 32, rows=[adds(3, 4)], **kept))
    client("commit by user key", request("COMMIT", 32, ["FLAT", "INTERVAL"], fields, reservation=5))
    client("cancel", request("CANCEL", 33, **kept))
    client("cancel by user key", request("CANCEL", 33, ["DURABLE"], fields[:1], reservation=5))


def batches():
    def all_operations():
        for operation in ["AUTHORIZE", "AUTHREP", "CHECK", "REPORT"]:
            yield as_item(request(operation, handle=HANDLE, rows=[adds(3, 1)]))
        yield as_item(
            request("AUTHREP", flags=["FLAT", "OAUTH"], fields=[("USER_KEY", "uk"), usage("hits", 1)])
        )
        yield as_item(request("RESERVE", handle=HANDLE, rows=[adds(3, 5)], ttl_s=60))
        yield as_item(request("COMMIT", handle=HANDLE, rows=[adds(3, 5)], reservation=5))
        yield as_item(request("CANCEL", handle=HANDLE, reservation=6))

    client("batch of one", request("BATCH", 41, items=list(all_operations())[1:2]))
    client("batch of all operations", request("BATCH", 41, ["INTERVAL"], items=list(all_operations())))
    client("batch, all or none", request("BATCH", 41, ["DURABLE", "ALL"], items=list(all_operations())[:2]))
    receipt = {"outcome": "done", "marks": ["ON_DISK"], "catalog": 41}
    answers = [as_item(decision("AUTHREP", remaining=3, marks=["COUNTED", "LIMIT"]))]
    answers += [as_item(answer(operation, **receipt)) for operation in ["REPORT", "COMMIT", "CANCEL"]]
    answers += [as_item(error("AUTHREP", "STALE_HANDLE")), as_item(error("PING", "OUT_OF_PLACE"))]
    answers += [as_item(error("REPORT", "STORAGE_UNAVAILABLE", retry_ms=1000))]
    node("batch answered", answer("BATCH", 41, items=answers, done=True))
    none = [
        as_item(error("AUTHREP", "NOT_DONE")),
        as_item(decision("AUTHREP", yes=False, reason="limits_exceeded")),
    ]
    node("batch, all or none: none", answer("BATCH", 41, items=none, done=False))
    node("batch, all or none: all", answer("BATCH", 41, items=answers[:1], done=True))


def queries():
    client("query", request("QUERY", 51, handle=HANDLE))
    fields = [("SERVICE", "7001"), ("USER_KEY", "uk-1"), ("METRIC", "hits"), ("METRIC", "bytes")]
    client("query of two metrics", request("QUERY", 51, fields=fields))
    fixed = {"active": True, "reservations": 2, "catalog": 41, "time_us": NODE_TIME_US}
    named = [("METRIC", {"metric": 3, "name": "hits"}), ("METRIC", {"metric": 4, "name": "größe"})]
    node(
        "query answered",
        answer("QUERY", 51, fields=named, rows=[MINUTE_LIMIT, ETERNITY_LIMIT, COUNTS], **fixed),
    )
    node("query answered with nothing", answer("QUERY", 51, **(fixed | {"active": False, "reservations": 0})))


def errors():
    operations = {"RESERVATION_UNKNOWN": "COMMIT", "NOT_DURABLE": "REPORT", "PROOF_INVALID": "PROOF",
                  "METHOD_NOT_ALLOWED": "HELLO", "WAIT": "PROOF", "TOO_MUCH_FUTURE_USAGE": "REPORT"}  # fmt: skip
    for status, code in STATUSES.items():
        if code < 0x100 or status == "NOT_DONE":
            continue
        operation = operations.get(status, "AUTHREP")
        wait = 250 if status == "WAIT" or code >> 8 == 4 and status not in ("INTERNAL", "NOT_DURABLE") else 0
        node(f"refused: {status}", error(operation, status, 61, wait, f"a sentence about {status}"))
    node("refused without a message", error("AUTHREP", "STALE_HANDLE", 61))
    node("refused: an operation without a name", error("0x7E", "UNKNOWN_OPERATION", 61))
    node("refused: a status of class 2 without a name", error("AUTHREP", "0x02FE", 61), decode_only=True)


def growth():
    """What a version-1 writer does not write and a version-1 reader takes in its stride."""
    call = request("AUTHREP", 71, handle=HANDLE, rows=[adds(3, 1)])
    client("a fixed part longer than known", call, extra="aabbccdd", decode_only=True)
    odd = request("AUTHREP", 71, fields=[(999, {"hex": "01020304"}), ("USER_KEY", "uk")])
    client("a field without a name, skipped", odd, decode_only=True)
    must = request("AUTHREP", 71, fields=[(0x8000 | 999, {"hex": "01020304"}), ("USER_KEY", "uk")])
    client("a field without a name that must be understood", must, decode_only=True, error="NOT_SUPPORTED")
    client(
        "an operation without a name",
        request("0x7E", 71) | {"body": "0400ffff"},
        decode_only=True,
        error="UNKNOWN_OPERATION",
    )
    yes = decision("AUTHREP", 71, [(999, {"hex": "01"})], marks=["COUNTED"])
    node(
        "a decision longer than known, with a field without a name",
        yes,
        extra="ffffffffffffffff",
        decode_only=True,
    )
    node("an answer nobody asked for, skipped", answer("0x7E", 0) | {"body": "0400ffff"}, decode_only=True)
    node("an error longer than known", error("AUTHREP", "OVERLOADED", 71, 5), extra="ffff", decode_only=True)


def malformed():
    body = "1000" + "00" * 6 + number(HANDLE, "Q")
    bad = [
        ("a body without a fixed part", with_body(0x11, "")),
        ("a body of one byte", with_body(0x11, "10")),
        ("a fixed part shorter than prescribed", with_body(0x11, "0f00" + body[4:30])),
        ("a fixed part of length 0", with_body(0x11, "0000" + body[4:])),
        ("a fixed part beyond the frame", with_body(0x11, "1100" + body[4:])),
        ("rows beyond the frame", with_body(0x11, "100001" + body[6:] + "03000000" + "01" * 7)),
        ("half a field's head", with_body(0x11, body + "020000")),
        ("a field beyond the frame", with_body(0x11, body + "02000300" + "6161")),
        ("a user key twice", with_body(0x11, body[:16] + "00" * 8 + "020001006102000100" + "61")),
        ("a usage field that is too short", with_body(0x11, body + "06000800" + "00" * 8)),
        ("a usage field of a third kind", with_body(0x11, body + "06000a00" + "02" + "00" * 8 + "61")),
        ("a timestamp of four bytes", with_body(0x12, body + "07000400" + "00" * 4)),
        (
            "256 metrics",
            with_body(
                0x11, "1000ff" + body[6:] + "0300000001".ljust(24, "0") * 255 + "06000a00" + "00" * 9 + "61"
            ),
        ),
        ("durable and interval at once", with_body(0x11, body, 0x0C)),
        ("a reserve without its time to live", with_body(0x17, body)),
        ("a batch without items", with_body(0x16, "0800" + "0000" + "00000000")),
        (
            "a batch with fewer items than it says",
            with_body(0x16, "0800" + "0200" + "00000000" + "1800110000000000" + body),
        ),
        (
            "an item beyond the frame",
            with_body(0x16, "0800" + "0100" + "00000000" + "1900110000000000" + body),
        ),
        (
            "an item shorter than its head",
            with_body(0x16, "0800" + "0100" + "00000000" + "0700110000000000" + body),
        ),
    ]
    for name, hex_ in bad:
        add_bytes(name, "client", hex_, "MALFORMED")
    for name, hex_ in [
        ("a flag that the operation has not", with_body(0x13, body, 0x10)),
        ("a flag without a name", with_body(0x11, body, 0x80)),
    ]:
        add_bytes(name, "client", hex_, "NOT_SUPPORTED")
    text = with_body(0x11, body.replace(number(HANDLE, "Q"), "00" * 8) + "02000200" + "fffe")
    add_bytes("a user key that is not UTF-8", "client", text, "NOT_VALID_DATA")
    add_bytes("a length of 15", "client", header(15, 0x05), "GOAWAY")
    add_bytes("a length of 0", "client", header(0, 0x05), "GOAWAY")
    add_bytes("a length beyond the frame maximum", "client", header(65_537, 0x05), "GOAWAY")
    for name, hex_ in [
        ("a decision that is too short", with_body(0x91, "4700" + "00" * 69)),
        ("a decision beyond its frame", with_body(0x91, "4800" + "00" * 69)),
        (
            "a bind answer with fewer rows than it says",
            with_body(0x94, "18000100" + "0000" + "0200" + "00" * 16 + "03000000"),
        ),
        ("an answer with a broken field", with_body(0x91, "4800" + "00" * 70 + "4000ff00")),
        ("an item beyond its answer", with_body(0x96, "0800010001000000" + "1000910001020000")),
    ]:
        add_bytes(name, "node", hex_, "MALFORMED")


def all_entries():
    for part in [
        handshake,
        plain,
        calls,
        decisions,
        binding,
        reservations,
        batches,
        queries,
        errors,
        growth,
        malformed,
    ]:
        part()
    return entries
