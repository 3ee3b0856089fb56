"""The conversation of session.json: what a node answers to each operation, its catalog being `script.setup`."""

from handshake import OPENING, hello
from layout import adds, answer, as_item, error, frame, number, request, sets, usage
from script import (
    BYTES,
    EXPORT,
    HITS,
    PLAN,
    SEARCH,
    ask,
    bind,
    by_key,
    call,
    connect,
    counts,
    denied,
    free,
    limit_row,
    limited,
    loose,
    metric,
    no,
    query,
    receipt,
    refused,
    setup,
    steps,
    version,
    with_handle,
)


def decisions():
    connect(method="service token", service="7001", secret="golden-token-7001")
    ask("ping", request("PING", 2**64 - 1), answer("PING", 2**64 - 1, time_us="?", catalog=version()))
    bind(1, "hits", "search", "bytes", "export")
    ask("authrep by handle", with_handle("AUTHREP", 1, adds(HITS, 1)), limited("AUTHREP", "hits", 10, 1, 9))
    ask(
        "authrep by key: a method counts for its metric",
        by_key("AUTHREP", 1, usage("search", 2)),
        limited("AUTHREP", "hits", 10, 3, 3),
    )
    ask("flat: it does not", with_handle("AUTHREP", 1, adds(SEARCH, 1), flags=["FLAT"]), free("AUTHREP"))
    ask(
        "authorize counts nothing",
        with_handle("AUTHORIZE", 1, adds(HITS, 1)),
        limited("AUTHORIZE", "hits", 10, 3, 7, ["LIMIT"]),
    )
    ask("check: fits", with_handle("CHECK", 1, adds(HITS, 7)), limited("CHECK", "hits", 10, 3, 1, ["LIMIT"]))
    ask("check: does not", with_handle("CHECK", 1, adds(HITS, 8)), denied("CHECK", "hits", 10, 3))
    ask(
        "authrep: beyond the limit",
        with_handle("AUTHREP", 1, adds(HITS, 8)),
        denied("AUTHREP", "hits", 10, 3),
    )
    ask(
        "a metric that is disabled",
        with_handle("AUTHREP", 1, adds(EXPORT, 1)),
        denied("AUTHREP", "export", 0, 0),
    )
    ask(
        "durable",
        with_handle("AUTHREP", 1, adds(BYTES, 60), flags=["DURABLE"]),
        limited("AUTHREP", "bytes", 100, 60, 0),
    )
    ask(
        "all metrics or none",
        with_handle("AUTHREP", 1, adds(HITS, 1), adds(BYTES, 50)),
        denied("AUTHREP", "bytes", 100, 60),
    )
    minute = limit_row("minute", HITS, "minute", 1000, "?", reset="?")
    query("query", 1, "hits", [limit_row("hits", HITS, "eternity", 10, 3), minute, counts(HITS, 3)])
    ask("report", with_handle("REPORT", 1, adds(HITS, 5)), receipt("REPORT"))
    ask("report that sets, not waiting for the disk", with_handle("REPORT", 1, sets(BYTES, 7), flags=["INTERVAL"]),
        receipt("REPORT", marks=[]))  # fmt: skip
    ask("report by key", by_key("REPORT", 1, usage("bytes", 1), ("LOG_CODE", "200")), receipt("REPORT"))
    rows = [limit_row("hits", HITS, "eternity", 10, 8), minute, limit_row("bytes", BYTES, "eternity", 100, 8)]
    rows.append(limit_row("export", EXPORT, "eternity", 0, 0))
    ask("all limits", with_handle("CHECK", 1, adds(BYTES, 1), flags=["LIMITS"]),
        limited("CHECK", "bytes", 100, 8, 92, ["LIMIT"], fields=[("LIMIT", it) for it in rows]))  # fmt: skip
    ask(
        "a suspended application",
        by_key("AUTHREP", 4, usage("hits", 1)),
        no("AUTHREP", "application_not_active"),
    )
    ask(
        "check does not look at states",
        by_key("CHECK", 4, usage("hits", 1)),
        limited("CHECK", "hits", 10, 0, 10, ["LIMIT"]),
    )
    bytes_limit = limit_row("bytes", BYTES, "eternity", 100, 0)
    query("query of a suspended one", 4, "bytes", [bytes_limit, counts(BYTES, 0)], active=False)
    ask("three at once", [with_handle("CHECK", 1, adds(BYTES, 1)) | {"id": n} for n in (7, 8, 9)],
        *(limited("CHECK", "bytes", 100, 8, 92, ["LIMIT"]) | {"id": n} for n in (7, 8, 9)))  # fmt: skip


def refusals():
    def by_fields(*fields):
        return request("AUTHREP", fields=fields)

    ask(
        "a handle that never was",
        request("AUTHREP", handle=0x1122334455667788),
        refused("AUTHREP", "STALE_HANDLE"),
    )
    ask(
        "the service of others",
        by_key("AUTHREP", 1, ("SERVICE", "7002")),
        refused("AUTHREP", "SERVICE_ID_INVALID"),
    )
    ask(
        "user key and app id",
        by_key("AUTHREP", 1, ("APP_ID", "a1")),
        refused("AUTHREP", "AUTHENTICATION_ERROR"),
    )
    for operation in ["AUTHORIZE", "AUTHREP", "CHECK", "REPORT", "QUERY", "BIND"]:
        unknown = request(operation, fields=[("USER_KEY", "nobody")])
        ask(f"{operation}: a user key nobody has", unknown, refused(operation, "USER_KEY_INVALID"))
    ask("no user key", by_fields(), refused("AUTHREP", "USER_KEY_INVALID"))
    ask("a metric nobody has", by_key("AUTHREP", 1, usage("none", 1)), refused("AUTHREP", "METRIC_INVALID"))
    ask(
        "a metric number nobody has",
        with_handle("AUTHREP", 1, adds(0x7FFFFFFF, 1)),
        refused("AUTHREP", "METRIC_INVALID"),
    )
    ask("bind a metric nobody has", by_key("BIND", 1, ("METRIC", "none")), refused("BIND", "METRIC_INVALID"))
    for name, seconds, status in [
        ("old", 0, "TIMESTAMP_TOO_OLD"),
        ("new", 4_102_444_800, "TIMESTAMP_TOO_NEW"),
    ]:
        ask(
            f"a report too {name}",
            by_key("REPORT", 1, ("TIMESTAMP", seconds), usage("hits", 1)),
            refused("REPORT", status),
        )
    ask("not UTF-8", by_fields(("USER_KEY", {"hex": "fffe"})), refused("AUTHREP", "NOT_VALID_DATA"))
    ask(
        "malformed", number(0x12, "I") + "11000000" + number(1, "Q") + "1000", refused("AUTHREP", "MALFORMED")
    )
    ask(
        "durable and interval",
        with_handle("REPORT", 1, adds(HITS, 1), flags=["DURABLE", "INTERVAL"]),
        refused("REPORT", "MALFORMED"),
    )
    ask(
        "a flag that is not of the operation",
        with_handle("CHECK", 1, flags=["OAUTH"]),
        refused("CHECK", "NOT_SUPPORTED"),
    )
    ask(
        "a field that must be understood",
        by_fields((0x83E7, {"hex": "00"})),
        refused("AUTHREP", "NOT_SUPPORTED"),
    )
    ask(
        "an id of no bytes",
        by_key("REPORT", 1, ("IDEMPOTENCY", {"hex": ""})),
        refused("REPORT", "MALFORMED"),
    )
    for operation in ["AUTHORIZE", "CHECK", "QUERY", "BIND"]:
        ask(
            f"{operation}: an id where nothing is counted",
            by_key(operation, 1, ("IDEMPOTENCY", {"hex": "01"})),
            refused(operation, "NOT_SUPPORTED"),
        )
    ask(
        "an operation without a name",
        request("0x7E") | {"body": "0400ffff"},
        refused("0x7E", "UNKNOWN_OPERATION"),
    )
    ask("goaway from a client", request("GOAWAY") | {"body": ""}, refused("GOAWAY", "OUT_OF_PLACE"))
    ask("stats on a connection of one service", request("STATS"), refused("STATS", "METHOD_NOT_ALLOWED"))
    check = with_handle("CHECK", 1, adds(BYTES, 1))
    longer = frame(check, "ffffffff")
    ask("a fixed part longer than known", longer, limited("CHECK", "bytes", 100, 8, 92, ["LIMIT"]))
    odd = with_handle("CHECK", 1, adds(BYTES, 1), fields=[(999, {"hex": "00"})])
    ask("a field without a name", odd, limited("CHECK", "bytes", 100, 8, 92, ["LIMIT"]))


def reservations():
    bind(2, "hits")

    def reserve(id_, amount, count, remaining, ttl_s=60):
        ask(f"reserve {amount}", with_handle("RESERVE", 2, adds(HITS, amount), ttl_s=ttl_s),
            limited("RESERVE", "hits", 10, count, remaining, reservation=f"<{id_}:8>"))  # fmt: skip

    def commit(name, id_, amount, answered):
        ask(name, with_handle("COMMIT", 2, adds(HITS, amount), reservation=f"<{id_}:8>"), answered)

    reserve("r1", 4, 0, 1)
    ask(
        "what is held counts against limits",
        with_handle("AUTHREP", 2, adds(HITS, 7)),
        denied("AUTHREP", "hits", 10, 0, retry_ms="?"),
    )
    ask("up to them", with_handle("CHECK", 2, adds(HITS, 6)), limited("CHECK", "hits", 10, 0, 1, ["LIMIT"]))
    minute = limit_row("minute", HITS, "minute", 1000, "?", 4, "?")
    query(
        "query shows it",
        2,
        "hits",
        [limit_row("hits", HITS, "eternity", 10, 0, 4), minute, counts(HITS, 0)],
        1,
    )
    commit("commit less", "r1", 3, receipt("COMMIT"))
    commit("commit again", "r1", 3, refused("COMMIT", "RESERVATION_UNKNOWN"))
    reserve("r2", 2, 3, 2)
    ask(
        "of another application",
        with_handle("COMMIT", 1, adds(HITS, 1), reservation="<r2:8>"),
        refused("COMMIT", "RESERVATION_UNKNOWN"),
    )
    commit("commit more", "r2", 5, receipt("COMMIT", "overrun"))
    reserve("r3", 1, 8, 1)
    cancel = with_handle("CANCEL", 2, reservation="<r3:8>")
    ask("cancel", cancel, receipt("CANCEL", marks=[]))
    ask("cancel again", cancel, refused("CANCEL", "RESERVATION_UNKNOWN"))
    ask(
        "reserve too much",
        with_handle("RESERVE", 2, adds(HITS, 3), ttl_s=60),
        denied("RESERVE", "hits", 10, 8),
    )
    for ttl_s in (0, 3601):
        ask(
            f"a time to live of {ttl_s}",
            with_handle("RESERVE", 2, adds(HITS, 1), ttl_s=ttl_s),
            refused("RESERVE", "TTL_INVALID"),
        )
    ask(
        "reserve a set",
        with_handle("RESERVE", 2, sets(HITS, 1), ttl_s=60),
        refused("RESERVE", "USAGE_VALUE_INVALID"),
    )
    reserve("r4", 1, 8, 1, 1)
    reserve("r5", 1, 8, 0, 1)
    steps.append({"wait_ms": 2100})
    commit("commit too late: counted", "r4", 1, receipt("COMMIT", "expired"))
    ask("cancel too late", with_handle("CANCEL", 2, reservation="<r5:8>"), receipt("CANCEL", "expired", []))
    ask(
        "what expired is released",
        with_handle("CHECK", 2, adds(HITS, 1)),
        limited("CHECK", "hits", 10, 9, 1, ["LIMIT"]),
    )
    one = as_item(by_key("RESERVE", 6, usage("bytes", 1), ttl_s=60))
    held = [as_item(limited("RESERVE", "bytes", 100, 0, 99 - n, reservation="?")) for n in range(64)]
    ask("64 may be open", request("BATCH", items=[one] * 65),
        answer("BATCH", items=[*held, as_item(error("RESERVE", "TOO_MANY_RESERVATIONS"))], done=True))  # fmt: skip


def repetitions():
    """On a metric that no limit concerns, without those above it."""

    def with_id(operation, id_, amount, **more):
        return by_key(operation, 2, usage("search", amount), ("IDEMPOTENCY", {"hex": id_}), flags=["FLAT"], **more)

    def again(answered):
        return answered | {"status": "DUPLICATE"}

    ask("authrep with an id", with_id("AUTHREP", "00ff", 3), free("AUTHREP"))
    ask("the same again", with_id("AUTHREP", "00ff", 3), again(free("AUTHREP")))
    other = refused("AUTHREP", "IDEMPOTENCY_CONFLICT")
    ask("another under the same id", with_id("AUTHREP", "00ff", 4), other)
    ask("report with an id", with_id("REPORT", "00ff", 5), receipt("REPORT"))
    ask("the same report again", with_id("REPORT", "00ff", 5), again(receipt("REPORT")))
    ask("another report under the same id", with_id("REPORT", "00ff", 6), refused("REPORT", "IDEMPOTENCY_CONFLICT"))
    held = free("RESERVE", reservation="<r9:8>")
    ask("reserve with an id", with_id("RESERVE", "01" * 64, 1, ttl_s=60), held)
    ask("the same reservation again", with_id("RESERVE", "01" * 64, 1, ttl_s=60), again(held))
    commit = by_key("COMMIT", 2, ("IDEMPOTENCY", {"hex": "02"}), reservation="<r9:8>")
    ask("a commit needs no id", commit, refused("COMMIT", "NOT_SUPPORTED"))
    items = [with_id("REPORT", "03", 1), with_id("REPORT", "03", 1), with_id("REPORT", "03", 2)]
    conflict = error("REPORT", "IDEMPOTENCY_CONFLICT")
    answers = [receipt("REPORT"), again(receipt("REPORT")), conflict]
    ask(
        "ids in a batch",
        request("BATCH", items=map(as_item, items)),
        answer("BATCH", items=map(as_item, answers), done=True),
    )
    query("each was counted once", 2, "search", [counts(SEARCH, 3 + 5 + 1)], 1)

    def numbered(operation, sequence, amount, **more):
        producer = ("PRODUCER", {"sequence": sequence, "hex": "70ff"})
        return by_key(operation, 2, usage("search", amount), producer, flags=["FLAT"], **more)

    ask("a producer's number", numbered("AUTHREP", 100, 1), free("AUTHREP"))
    ask("the same number again", numbered("AUTHREP", 100, 1), again(free("AUTHREP")))
    ask("another call under the number", numbered("AUTHREP", 100, 2), other)
    ask("a number before it", numbered("REPORT", 37, 2), receipt("REPORT"))
    ask("the same report by number", numbered("REPORT", 37, 2), again(receipt("REPORT")))
    ask("a number that is too old", numbered("REPORT", 36, 4), refused("REPORT", "SEQUENCE_TOO_OLD"))
    both = by_key("AUTHREP", 2, ("IDEMPOTENCY", {"hex": "05"}), ("PRODUCER", {"sequence": 9, "hex": "70"}))
    ask("an id and a number", both, refused("AUTHREP", "MALFORMED"))
    ask("a number in a check", numbered("CHECK", 101, 1), refused("CHECK", "NOT_SUPPORTED"))
    query("numbers were counted once", 2, "search", [counts(SEARCH, 3 + 5 + 1 + 1 + 2)], 1)


def batches():
    def batch(name, items, answers, flags=(), done=True):
        ask(
            name,
            request("BATCH", flags=flags, items=map(as_item, items)),
            answer("BATCH", items=map(as_item, answers), done=done),
        )

    bind(3, "hits")
    stale = request("AUTHREP", handle=0x1122334455667788)
    batch("batch: each sees those before it", [
        with_handle("AUTHREP", 3, adds(HITS, 2)), with_handle("AUTHREP", 3, adds(HITS, 9)),
        by_key("REPORT", 3, usage("hits", 1)), with_handle("CHECK", 3, adds(HITS, 7)), stale, request("PING"),
    ], [
        limited("AUTHREP", "hits", 10, 2, 4), denied("AUTHREP", "hits", 10, 2), receipt("REPORT"),
        limited("CHECK", "hits", 10, 3, 1, ["LIMIT"]), error("AUTHREP", "STALE_HANDLE"), error("PING", "OUT_OF_PLACE"),
    ])  # fmt: skip
    batch("all or none: none", [with_handle("AUTHREP", 3, adds(HITS, 1)), with_handle("AUTHREP", 1, adds(EXPORT, 1))],
          [error("AUTHREP", "NOT_DONE"), denied("AUTHREP", "export", 0, 0)], ["ALL"], False)  # fmt: skip
    batch("all or none: refused", [stale, with_handle("AUTHREP", 3, adds(HITS, 1))],
          [error("AUTHREP", "STALE_HANDLE"), error("AUTHREP", "NOT_DONE")], ["ALL"], False)  # fmt: skip
    batch("all or none: no reports", [with_handle("AUTHREP", 3, adds(HITS, 1)), with_handle("REPORT", 3)],
          [error("AUTHREP", "NOT_DONE"), error("REPORT", "OUT_OF_PLACE")], ["ALL"], False)  # fmt: skip
    batch("all or none: all", [with_handle("AUTHREP", 3, adds(HITS, 1)), with_handle("AUTHREP", 1, adds(HITS, 1))],
          [limited("AUTHREP", "hits", 10, 4, 6), limited("AUTHREP", "hits", 10, 9, 1)], ["ALL"])  # fmt: skip
    with_ids = [
        by_key("AUTHREP", 3, usage("hits", 1), ("IDEMPOTENCY", {"hex": "20"})),
        by_key("AUTHREP", 3, usage("hits", 1), ("PRODUCER", {"sequence": 1, "hex": "21"})),
    ]
    # Remaining is how often all of it could be done again, and of a repetition how often that call alone could.
    batch("all or none, with ids", with_ids, [limited("AUTHREP", "hits", 10, 6, 2)] * 2, ["ALL"])
    again = limited("AUTHREP", "hits", 10, 6, 4) | {"status": "DUPLICATE"}
    batch("all or none: all of it again", with_ids, [again] * 2, ["ALL"])
    empty = "18000000" + "16000000" + number(1, "Q") + "0800" + "0000" + "00000000"
    ask("a batch without items", empty, refused("BATCH", "MALFORMED"))
    connect(method="service token", service="7001", secret="golden-token-7001", frame_max=4096)
    item = as_item(with_handle("CHECK", 3))
    ask(
        "a batch whose answer would not fit",
        request("BATCH", items=[item] * 51),
        refused("BATCH", "TOO_LARGE"),
    )
    connect(method="service token", service="7001", secret="golden-token-7001", window=1)
    ask("beyond the window", [with_handle("REPORT", 3, adds(HITS, 1)) | {"id": n} for n in (1, 2)],
        receipt("REPORT"), refused("REPORT", "OVERLOADED", 2, "?"))  # fmt: skip


def changes():
    connect(method="service token", service="7001", secret="golden-token-7001")
    call("PUT", f"{PLAN}/1/eternity", {"usagelimit": {"eternity": 12}})
    ask(
        "a new maximum does not end a handle",
        with_handle("AUTHREP", 1, adds(HITS, 1)),
        limited("AUTHREP", "hits", 12, 10, 2),
    )
    bind(5, "hits")
    call("DELETE", "/internal/services/7001/applications/key/uk-5", None)
    ask("a new credential does", with_handle("AUTHREP", 5, adds(HITS, 1)), refused("AUTHREP", "STALE_HANDLE"))
    ask(
        "and the old one is none",
        by_key("AUTHREP", 5, usage("hits", 1)),
        refused("AUTHREP", "USER_KEY_INVALID"),
    )
    ask(
        "handles of others go on",
        with_handle("CHECK", 1, adds(HITS, 1)),
        limited("CHECK", "hits", 12, 10, 2, ["LIMIT"]),
    )
    call("DELETE", "/internal/services/7001/applications/a1", None)
    ask("deletion does", with_handle("AUTHREP", 1, adds(HITS, 1)), refused("AUTHREP", "STALE_HANDLE"))


def app_ids():
    connect(method="service token", service="7002", secret="golden-token-7002")
    key, referrer, hits = ("APP_KEY", "secret-b1"), ("REFERRER", "www.example.org"), usage("hits", 1)

    def by_id(*fields, flags=()):
        return request("AUTHREP", flags=flags, fields=[("APP_ID", "b1"), *fields])

    ask("app id, key, referrer", by_id(key, referrer, hits), free("AUTHREP"))
    ask("without a key", by_id(referrer, hits), no("AUTHREP", "application_key_invalid"))
    ask("with a wrong key", by_id(("APP_KEY", "x"), referrer, hits), no("AUTHREP", "application_key_invalid"))
    ask(
        "with a wrong referrer",
        by_id(key, ("REFERRER", "example.com"), hits),
        no("AUTHREP", "referrer_not_allowed"),
    )
    ask(
        "OAuth where there is none",
        by_id(key, referrer, hits, flags=["OAUTH"]),
        no("AUTHREP", "oauth_not_enabled"),
    )
    ask("no app id", request("AUTHREP", fields=[key]), refused("AUTHREP", "APPLICATION_NOT_FOUND"))
    ask(
        "an app id nobody has",
        request("AUTHREP", fields=[("APP_ID", "x")]),
        refused("AUTHREP", "APPLICATION_NOT_FOUND"),
    )
    wanted = [("APP_ID", "b1"), ("METRIC", "hits")]
    unbound = answer("BIND", bound=False, reason="application_key_invalid", handle=0, catalog=version())
    ask("bind without the key", request("BIND", fields=wanted), unbound)
    bound = answer(
        "BIND",
        bound=True,
        reason=None,
        handle="<b1:8>",
        catalog=version(),
        rows=[{"metric": metric("hits-2")}],
    )
    ask("bind", request("BIND", fields=[*wanted, key]), bound)
    called = request("AUTHREP", fields=[referrer], rows=[adds(metric("hits-2"), 1)], handle="<b1:8>")
    ask("by handle, with a referrer", called, free("AUTHREP"))
    ask("by handle, without", called | {"fields": []}, no("AUTHREP", "referrer_not_allowed"))
    ask("the handle of another service", with_handle("AUTHREP", 3), refused("AUTHREP", "STALE_HANDLE"))


def all_services():
    connect(method="node secret")
    ask("no service", by_key("AUTHREP", 3), refused("AUTHREP", "SERVICE_ID_MISSING"))
    ask(
        "a service nobody has",
        by_key("AUTHREP", 3, ("SERVICE", "7999")),
        refused("AUTHREP", "SERVICE_ID_INVALID"),
    )
    ask(
        "a handle from another connection",
        with_handle("CHECK", 3, adds(EXPORT, 1)),
        denied("CHECK", "export", 0, 0),
    )
    suspended = [("SERVICE", "7004"), ("USER_KEY", "uk-d"), usage("hits", 1)]
    ask("a suspended service", request("AUTHREP", fields=suspended), no("AUTHREP", "service_not_active"))
    client, hits = [("SERVICE", "7003"), ("APP_ID", "c1")], usage("hits", 1)
    for name, fields, answered in [
        ("OAuth", [], free("AUTHREP")),
        ("OAuth with the redirect", [("REDIRECT_URI", "https://example.org/back")], free("AUTHREP")),
        (
            "OAuth with another URI",
            [("REDIRECT_URI", "https://example.com")],
            no("AUTHREP", "redirect_uri_invalid"),
        ),
        (
            "OAuth with another URL",
            [("REDIRECT_URL", "https://example.com")],
            no("AUTHREP", "redirect_url_invalid"),
        ),
    ]:
        ask(name, request("AUTHREP", flags=["OAUTH"], fields=[*client, *fields, hits]), answered)
    names = ["uptime_s", "connections", "frames", "decisions", "denied", "applications", "unflushed_us"]
    ask(
        "stats",
        request("STATS"),
        answer("STATS", behind=False, catalog=version(), **dict.fromkeys(names, "?")),
    )


def endings():
    ask("a frame shorter than its header", number(15, "I") + "05000000" + number(1, "Q"),
        loose(answer("GOAWAY", 0, why="protocol", close_ms="?")), closed=True)  # fmt: skip
    steps.append({"open": True})
    ask("ping before welcome", [OPENING, request("PING")], refused("PING", "OUT_OF_PLACE"))
    challenge = answer("HELLO", 1, "CHALLENGE", nonce="?")
    ask("hello", hello("service token", "7001"), challenge)
    ask(
        "a wrong proof",
        request("PROOF", 2, mac="00" * 32),
        refused("PROOF", "PROOF_INVALID", 2, "?"),
        closed=True,
    )
    for name, greeting in [
        ("no common version", hello("service token", "7001", lowest=2, highest=3)),
        ("a feature nobody has", hello("service token", "7001", features=1 << 63)),
    ]:
        steps.append({"open": True})
        ask(name, [OPENING, greeting], refused("HELLO", "NOT_SUPPORTED"), closed=True)
    steps.append({"open": True})
    ask("no credentials over TCP", [OPENING, hello("none", None)], refused("HELLO", "METHOD_NOT_ALLOWED"))
    connect(method="service token", service="7001", secret="golden-token-7001")
    steps.append({"stop": True, "expect": [frame(loose(answer("GOAWAY", 0, why="stops", close_ms="?")))]})


def whole():
    steps.clear()
    for part in [decisions, refusals, reservations, repetitions, batches, changes, app_ids, all_services, endings]:
        part()
    return {"setup": list(setup()), "steps": steps}
