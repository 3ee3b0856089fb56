"""Messages as the golden files mean them, and back. Names come from `proto/golden/README.md`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict

from tollgate.codec import layout, numbers
from tollgate.codec.fields import MetricField, ProducerField, UsageField
from tollgate.codec.message import Message
from tollgate.codec.numbers import NEVER, Flag, Operation, Status, Tag

GOLDEN = Path(__file__).resolve().parents[3] / "proto" / "golden"

WORDS = {
    "method": ["none", "node secret", "service token"],
    "reason": [None, *(it.name.lower() for it in numbers.Reason)],
    "shadow_reason": [None, *(it.name.lower() for it in numbers.Reason)],
    "outcome": [it.name.lower() for it in numbers.Outcome],
    "period": [it.name.lower() for it in numbers.Period],
    "why": [None, "stops", "another takes over", "protocol", "idle", "does not read", "handshake", "no room"],
}
COUNTED = {"n_rows", "n_items", "n_limits", "n_usages"}
BOOLEANS = {"yes", "bound", "done", "active", "behind"}
ROW_MARKS = {"SHADOW": numbers.LIMIT_IN_SHADOW}


def load(name: str) -> Any:
    return json.loads((GOLDEN / name).read_text(encoding="utf-8"))


def bits(kind: Any, value: int) -> list:
    names = kind if isinstance(kind, dict) else {it.name: it.value for it in kind}
    return [name for name, bit in names.items() if value & bit]


def number(value: Any) -> int:
    return NEVER if value == "never" else int(value)


def numeral(value: int) -> Any:
    if value == NEVER:
        return "never"
    return str(value) if abs(value) > 2**53 else value


def part_kinds(part: Any) -> Dict[str, Any]:
    marks = numbers.ReceiptMark if isinstance(part, layout.ReceiptPart) else numbers.DecisionMark
    return {"marks": ROW_MARKS if isinstance(part, layout.LimitRow) else marks, "features": numbers.Feature}


def of_tuple(part: Any) -> Dict[str, Any]:
    """A fixed part or row by name."""
    kinds, found = part_kinds(part), {}
    for name, value in part._asdict().items():
        if name in COUNTED:
            continue
        if name in kinds:
            found[name] = bits(kinds[name], value)
        elif name in WORDS:
            found[name] = WORDS[name][value]
        elif name in BOOLEANS:
            found[name] = bool(value)
        else:
            found[name] = value.hex() if isinstance(value, bytes) else numeral(value)
    return found


def of_row(row: Any) -> Dict[str, Any]:
    if isinstance(row, layout.UsageRow):
        return {"metric": row.metric, "kind": "sets" if row.sets else "adds", "amount": numeral(row.amount)}
    return of_tuple(row)


def of_value(value: Any) -> Any:
    if isinstance(value, UsageField):
        return {"kind": "sets" if value.sets else "adds", "amount": numeral(value.amount), "name": value.name}
    if isinstance(value, ProducerField):
        return {"sequence": numeral(value.sequence), "hex": value.name.hex()}
    if isinstance(value, MetricField):
        return value._asdict()
    if isinstance(value, layout.LimitRow):
        return of_tuple(value)
    return {"hex": value.hex()} if isinstance(value, bytes) else value


def name_of(value: int, digits: int) -> str:
    return value.name if hasattr(value, "name") else f"0x{value:0{digits}X}"


def of_message(message: Message, item: bool = False) -> Dict[str, Any]:
    """The meaning of a message."""
    found = {
        "operation": name_of(message.operation, 2),
        "answer": message.answer,
        "flags": bits(Flag, message.flags),
        "status": name_of(message.status, 4),
        "fixed": {} if message.fixed is None else of_tuple(message.fixed),
        "rows": [of_row(row) for row in message.rows],
        "fields": [
            {"tag": getattr(tag, "name", tag), "value": of_value(value)} for tag, value in message.fields
        ],
    }
    if not item:
        found |= {"id": numeral(message.id), "items": [of_message(it, True) for it in message.items]}
    return found


def to_tuple(kind: Any, meaning: Dict[str, Any], **counted: int) -> Any:
    """A fixed part or row of this kind."""
    values = {}
    for name in kind._fields:
        value = counted.get(name, meaning.get(name))
        names = part_kinds(kind(*[0] * len(kind._fields)))
        if name in names:
            known = names[name] if isinstance(names[name], dict) else names[name].__members__
            value = sum(known[it] for it in value) if isinstance(value, list) else value
        elif name in WORDS:
            value = WORDS[name].index(value)
        elif name in ("nonce", "mac"):
            value = bytes.fromhex(value)
        values[name] = number(value) if not isinstance(value, bytes) else value
    return kind(**values)


def to_row(meaning: Dict[str, Any]) -> Any:
    if "period" in meaning:
        return to_tuple(layout.LimitRow, meaning)
    if "eternity" in meaning:
        return to_tuple(layout.CountsRow, meaning)
    if "amount" in meaning:
        return layout.UsageRow(meaning["metric"], number(meaning["amount"]), meaning["kind"] == "sets")
    return to_tuple(layout.MetricRow, meaning)


def to_value(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "sequence" in value:
        return ProducerField(number(value["sequence"]), bytes.fromhex(value["hex"]))
    if "hex" in value:
        return bytes.fromhex(value["hex"])
    if "period" in value:
        return to_row(value)
    if "amount" in value:
        return UsageField(value["name"], number(value["amount"]), value["kind"] == "sets")
    return MetricField(value["metric"], value["name"])


def to_message(meaning: Dict[str, Any]) -> Message:
    """The message that is meant."""
    operation = numbered(Operation, meaning["operation"])
    status = numbered(Status, meaning["status"])
    head = Message(operation, meaning["answer"], sum(Flag[it] for it in meaning["flags"]), status)
    rows = tuple(map(to_row, meaning["rows"]))
    items = tuple(map(to_message, meaning.get("items", [])))
    limits = sum(isinstance(row, layout.LimitRow) for row in rows)
    kind = kind_of(head)
    counted = {"n_rows": len(rows), "n_items": len(items), "n_limits": limits, "n_usages": len(rows) - limits}
    fields = tuple((numbered(Tag, it["tag"]), to_value(it["value"])) for it in meaning["fields"])
    return head._replace(
        id=number(meaning.get("id", 0)), fixed=kind and to_tuple(kind, meaning["fixed"], **counted),
        rows=rows, items=items, fields=fields,
    )  # fmt: skip


def kind_of(head: Message) -> Any:
    """The named tuple of a message's fixed part."""
    if head.answer and head.status >= 0x100:
        return layout.ErrorPart
    if head.status == Status.CHALLENGE:
        return layout.ChallengePart
    known = (layout.ANSWERS if head.answer else layout.REQUESTS).get(head.operation)
    return known and known.part


def numbered(enum: Any, name: Any) -> int:
    if isinstance(name, int):
        return name
    return int(name, 16) if name.startswith("0x") else enum[name]
