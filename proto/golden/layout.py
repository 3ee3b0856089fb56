"""What the protocol's tables say, as tables: turns the meaning of a frame into the hex of its bytes.

Written from `../README.md` and nothing else. Numbers go through `struct`. A text beginning with `?` or `<` stands for
bytes that are not known yet (see README.md here) and is put where they would be.
"""

import re
import struct

NEVER = 2**64 - 1

OPERATIONS = {
    "HELLO": 0x01, "PROOF": 0x02, "PING": 0x05, "STATS": 0x06, "GOAWAY": 0x07, "AUTHORIZE": 0x10, "AUTHREP": 0x11,
    "REPORT": 0x12, "CHECK": 0x13, "BIND": 0x14, "BATCH": 0x16, "RESERVE": 0x17, "COMMIT": 0x18, "CANCEL": 0x19,
    "QUERY": 0x1A,
}  # fmt: skip
FLAGS = {"FLAT": 0x01, "LIMITS": 0x02, "DURABLE": 0x04, "INTERVAL": 0x08, "OAUTH": 0x10, "ALL": 0x20}
STATUSES = {
    "OK": 0x0000, "DUPLICATE": 0x0001, "CHALLENGE": 0x0002,
    "MALFORMED": 0x0101, "UNKNOWN_OPERATION": 0x0102, "TOO_LARGE": 0x0103, "NOT_SUPPORTED": 0x0104,
    "OUT_OF_PLACE": 0x0105,
    "STALE_HANDLE": 0x0201, "SERVICE_ID_MISSING": 0x0202, "SERVICE_ID_INVALID": 0x0203,
    "AUTHENTICATION_ERROR": 0x0204, "USER_KEY_INVALID": 0x0205, "APPLICATION_NOT_FOUND": 0x0206,
    "METRIC_INVALID": 0x0207, "USAGE_VALUE_INVALID": 0x0208, "TIMESTAMP_TOO_OLD": 0x0209,
    "TIMESTAMP_TOO_NEW": 0x020A, "NOT_VALID_DATA": 0x020B, "RESERVATION_UNKNOWN": 0x020C,
    "TOO_MANY_RESERVATIONS": 0x020D, "TTL_INVALID": 0x020E, "NOT_DONE": 0x020F,
    "IDEMPOTENCY_CONFLICT": 0x0210, "SEQUENCE_TOO_OLD": 0x0211,
    "PROOF_INVALID": 0x0301, "METHOD_NOT_ALLOWED": 0x0302, "WAIT": 0x0303, "TENANT_SUSPENDED": 0x0304,
    "OVERLOADED": 0x0401, "DRAINING": 0x0402, "STORAGE_UNAVAILABLE": 0x0403, "TOO_MUCH_FUTURE_USAGE": 0x0404,
    "INTERNAL": 0x0405, "NOT_DURABLE": 0x0406, "IDEMPOTENCY_FULL": 0x0407,
}  # fmt: skip
TAGS = {
    "SERVICE": 1, "USER_KEY": 2, "APP_ID": 3, "APP_KEY": 4, "REFERRER": 5, "USAGE": 6, "TIMESTAMP": 7, "LOG_CODE": 8,
    "IDEMPOTENCY": 0x8009, "REDIRECT_URI": 10, "REDIRECT_URL": 11, "METRIC": 12, "CLIENT": 13, "MESSAGE": 64,
    "LIMIT": 65, "NODE": 66, "PRODUCER": 0x800E,
}  # fmt: skip

# What a number in a fixed part or row is called in a meaning; bits are lists of names.
NAMES = {
    "method": ["none", "node secret", "service token"],
    "reason": [
        None, "limits_exceeded", "application_key_invalid", "referrer_not_allowed", "application_not_active",
        "service_not_active", "oauth_not_enabled", "redirect_uri_invalid", "redirect_url_invalid",
    ],
    "outcome": ["done", "overrun", "expired"],
    "period": ["eternity", "year", "month", "week", "day", "hour", "minute"],
    "why": [None, "stops", "another takes over", "protocol", "idle", "does not read", "handshake", "no room"],
    "kind": ["adds", "sets"],
}  # fmt: skip
NAMES["shadow_reason"] = NAMES["reason"]
BITS = {
    "decision": {"COUNTED": 1, "SHADOW": 2, "LIMIT": 4, "BEHIND": 8},
    "receipt": {"ON_DISK": 1, "BEHIND": 8},
    "limit": {"SHADOW": 1},
    "features": {"DURABLE": 1, "IDEMPOTENCY": 2, "RESERVE": 4, "ALL": 8, "PRODUCER": 16},
}

# Fixed parts without their length: "name:type", zero for "-". What is counted ("rows" and so on) is not in a meaning.
APPLICATION = "n_rows:B -:5x handle:Q"
DECISION = (
    "yes:B marks:B reason:H shadow_reason:H limit:Q maximum:Q count:Q remaining:Q reset_ms:Q retry_ms:Q catalog:Q "
    "reservation:Q"
)
RECEIPT = "outcome:B marks:B -:4x catalog:Q"
WELCOME = "version:H frame_max:I window:I idle_ms:I features:Q session:Q node:Q time_us:Q catalog:Q mac:32s"
CALLS = ["AUTHORIZE", "AUTHREP", "CHECK", "REPORT", "RESERVE", "COMMIT", "CANCEL", "QUERY"]
REQUESTS = dict.fromkeys(CALLS, APPLICATION) | {
    "HELLO": "method:B -:x lowest:H highest:H frame_max:I window:I features:Q nonce:32s",
    "PROOF": "-:6x mac:32s",
    "PING": None,
    "STATS": None,
    "BIND": "-:6x",
    "RESERVE": APPLICATION + " ttl_s:I -:4x",
    "COMMIT": APPLICATION + " reservation:Q",
    "CANCEL": APPLICATION + " reservation:Q",
    "BATCH": "n_items:H -:4x",
}
ANSWERS = dict.fromkeys(["AUTHORIZE", "AUTHREP", "CHECK", "RESERVE"], DECISION) | {
    "REPORT": RECEIPT,
    "COMMIT": RECEIPT,
    "CANCEL": RECEIPT,
    "HELLO": WELCOME,
    "PROOF": WELCOME,
    "PING": "-:6x time_us:Q catalog:Q",
    "STATS": (
        "behind:B -:5x uptime_s:Q connections:Q frames:Q decisions:Q denied:Q applications:Q catalog:Q unflushed_us:Q"
    ),
    "GOAWAY": "why:H close_ms:I",
    "BIND": "bound:B -:x reason:H n_rows:H handle:Q catalog:Q",
    "BATCH": "n_items:H done:B -:3x",
    "QUERY": "active:B reservations:B n_limits:H n_usages:H catalog:Q time_us:Q",
}
CHALLENGE = "-:6x nonce:32s"
ERROR = "-:2x retry_ms:I"
USAGE_ROW = "metric:I amount:Q"
METRIC_ROW = "metric:I"
LIMIT_ROW = "limit:Q metric:I period:B marks:B -:2x maximum:Q count:Q held:Q reset_ms:Q"
COUNTS_ROW = "metric:I -:4x eternity:Q year:Q month:Q week:Q day:Q hour:Q minute:Q"


def size(text):
    """Bytes that a hex text stands for."""
    return len(re.sub(r"<[^:>]+:(\d+)>", lambda it: "??" * int(it[1]), text)) // 2


def unknown(value):
    return isinstance(value, str) and value[:1] in ("?", "<")


def bits(value, names):
    if isinstance(value, list):
        return sum(names[name] for name in value)
    return value


def number(value, type_):
    """A value as little-endian hex, or the text that stands for it."""
    if unknown(value):
        return value if value[0] == "<" else "??" * struct.calcsize("<" + type_)
    if type_.endswith("s"):
        return value
    if value == "never":
        value = NEVER
    return struct.pack("<" + type_, int(value)).hex()


def pack(layout, values, marks="decision"):
    """The parts that `layout` names, without the length in front."""
    out = ""
    for part in layout.split():
        name, type_ = part.split(":")
        if name == "-":
            out += "00" * struct.calcsize("<" + type_)
            continue
        value = values[name]
        if not unknown(value):
            if name == "marks":
                value = bits(value, BITS[marks])
            elif name == "features":
                value = bits(value, BITS["features"])
            elif name in NAMES:
                value = NAMES[name].index(value)
        out += number(value, type_)
    return out


def row(values):
    if "period" in values:
        return pack(LIMIT_ROW, values, "limit")
    if "eternity" in values:
        return pack(COUNTS_ROW, values)
    if "amount" in values:
        metric = values["metric"]
        if values["kind"] == "sets":
            metric = metric[:-2] + "80" if unknown(metric) else metric | 0x80000000
        return pack(USAGE_ROW, {"metric": metric, "amount": values["amount"]})
    return pack(METRIC_ROW, values)


def field(values):
    tag, value = values["tag"], values["value"]
    if isinstance(value, str):
        body = value.encode().hex()
    elif isinstance(value, int):
        body = struct.pack("<q", value).hex()
    elif "sequence" in value:
        body = number(value["sequence"], "Q") + value["hex"]
    elif "hex" in value:
        body = value["hex"]
    elif "period" in value:
        body = row(value)
    elif "amount" in value:
        body = pack("kind:B amount:Q", value) + value["name"].encode().hex()
    else:
        body = number(value["metric"], "I") + value["name"].encode().hex()
    return number(TAGS.get(tag, tag), "H") + number(size(body), "H") + body


def body(meaning, extra=""):
    """Everything behind the header. `extra` is appended to the fixed part, as a later version might."""
    if "body" in meaning:
        return meaning["body"]
    operation, rows, items = meaning["operation"], meaning["rows"], meaning.get("items", [])
    if status_code(meaning) >= 0x100:
        layout = ERROR
    elif meaning["status"] == "CHALLENGE":
        layout = CHALLENGE
    else:
        layout = (ANSWERS if meaning["answer"] else REQUESTS)[operation]
    out = ""
    if layout is not None:
        limits = sum("period" in it for it in rows)
        counted = {
            "n_rows": len(rows),
            "n_items": len(items),
            "n_limits": limits,
            "n_usages": len(rows) - limits,
        }
        marks = "receipt" if layout == RECEIPT else "decision"
        fixed = pack(layout, counted | meaning["fixed"], marks) + extra
        out = number(size(fixed) + 2, "H") + fixed
    out += "".join(map(row, rows)) + "".join(map(item, items))
    return out + "".join(map(field, meaning["fields"]))


def code(meaning):
    return OPERATIONS.get(meaning["operation"]) or int(meaning["operation"], 16)


def status_code(meaning):
    status = meaning["status"]
    return STATUSES[status] if status in STATUSES else int(status, 16)


def item(meaning):
    """One item of a BATCH, or of its answer."""
    behind = body(meaning)
    head = number(size(behind) + 8, "H")
    if meaning["answer"]:
        return (
            head
            + number(code(meaning) | 0x80, "B")
            + "00"
            + number(status_code(meaning), "H")
            + "0000"
            + behind
        )
    return (
        head + number(code(meaning), "B") + number(bits(meaning["flags"], FLAGS), "B") + "00000000" + behind
    )


def frame(meaning, extra=""):
    """A whole frame. In an answer whose body ends with `*` (anything) the length varies, too."""
    behind = body(meaning, extra)
    loose = behind.endswith("*")
    return (
        ("????????" if loose else number(size(behind) + 16, "I"))
        + number(code(meaning) | (0x80 if meaning["answer"] else 0), "B")
        + number(bits(meaning["flags"], FLAGS), "B")
        + number(status_code(meaning), "H")
        + number(meaning["id"], "Q")
        + behind
    )


# How meanings are written down.


def request(operation, id_=1, flags=(), fields=(), rows=(), items=(), **fixed):
    if operation in CALLS:
        fixed.setdefault("handle", 0)
    return meaning(operation, False, list(flags), "OK", id_, fixed, rows, items, fields)


def answer(operation, id_=1, status="OK", fields=(), rows=(), items=(), **fixed):
    return meaning(operation, True, [], status, id_, fixed, rows, items, fields)


def meaning(operation, is_answer, flags, status, id_, fixed, rows, items, fields):
    return {
        "operation": operation, "answer": is_answer, "flags": flags, "status": status, "id": id_, "fixed": fixed,
        "rows": list(rows), "items": list(items), "fields": [{"tag": tag, "value": value} for tag, value in fields],
    }  # fmt: skip


def as_item(meaning):
    """The same as an item of a BATCH, which has no id."""
    return {name: value for name, value in meaning.items() if name not in ("id", "items")}


def error(operation, status, id_=1, retry_ms=0, message=None):
    return answer(operation, id_, status, [("MESSAGE", message)] if message else [], retry_ms=retry_ms)


def adds(metric, amount):
    return {"metric": metric, "kind": "adds", "amount": amount}


def sets(metric, amount):
    return {"metric": metric, "kind": "sets", "amount": amount}


def usage(name, amount, kind="adds"):
    return ("USAGE", {"kind": kind, "amount": amount, "name": name})


def decision(operation, id_=1, fields=(), yes=True, **fixed):
    """A yes that no limit concerns, but for what is said otherwise."""
    common = {
        "yes": yes, "marks": [], "reason": None, "shadow_reason": None, "limit": 0, "maximum": 0, "count": 0,
        "remaining": "never", "reset_ms": 0, "retry_ms": 0, "catalog": 0, "reservation": 0,
    }  # fmt: skip
    return answer(operation, id_, fields=fields, **(common | fixed))
