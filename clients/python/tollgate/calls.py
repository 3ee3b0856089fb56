"""Calls to messages, and messages to answers."""

from __future__ import annotations

from typing import Any, List, Optional, Tuple, Union

from .bindings import Binding
from .codec.fields import Field, ProducerField, UsageField
from .codec.layout import ApplicationPart, LimitRow, Malformed, ReservePart, SettlePart, UsageRow
from .codec.message import Message, check_flags
from .codec.numbers import (
    DECIDED,
    LIMIT_IN_SHADOW,
    NEVER,
    RECEIPTED,
    DecisionMark,
    Flag,
    Operation,
    Outcome,
    Period,
    Reason,
    ReceiptMark,
    Tag,
    named,
    status_class,
)
from .errors import Refused
from .model import Call, Counts, Decision, Limit, NodeStats, Pong, Receipt, Set, UsageReport, has_id

Answer = Union[Decision, Receipt, UsageReport, Pong, NodeStats]

ID_SIZE_MAX = 64

_NAMES = (
    (Tag.USER_KEY, "user_key"), (Tag.APP_ID, "app_id"), (Tag.APP_KEY, "app_key"), (Tag.REDIRECT_URI, "redirect_uri"),
    (Tag.REDIRECT_URL, "redirect_url"),
)  # fmt: skip


def to_message(call: Call, service: Optional[str], binding: Optional[Binding], item: bool = False) -> Message:
    """The request, by handle if there is a binding. Raises ValueError if the operation cannot be asked like this."""
    flags = _flags(call)
    try:
        check_flags(call.operation, flags, item)
    except Malformed as reason:
        raise ValueError(str(reason)) from None
    fields: List[Field] = [] if binding else _named(call, service)
    if call.referrer is not None:
        fields.append((Tag.REFERRER, call.referrer))
    if call.timestamp is not None:
        fields.append((Tag.TIMESTAMP, call.timestamp))
    if call.log_code is not None:
        fields.append((Tag.LOG_CODE, str(call.log_code)))
    if has_id(call):
        fields.append(_known_by(call))
    fields.extend((Tag.METRIC, name) for name in call.metrics)
    rows: Tuple[UsageRow, ...] = ()
    if binding:
        rows = tuple(UsageRow(binding.metrics[name], *_amount(it)) for name, it in call.usage.items())
    else:
        fields.extend((Tag.USAGE, UsageField(name, *_amount(it))) for name, it in call.usage.items())
    fixed = _fixed(call, len(rows), binding.handle if binding else 0)
    return Message(call.operation, flags=flags, fixed=fixed, rows=rows, fields=tuple(fields))


def _known_by(call: Call) -> Field:
    if call.producer is None and call.sequence is None:
        return Tag.IDEMPOTENCY, _id("an id", call.id)
    if call.id is not None:
        raise ValueError("a call has an id or a producer, not both")
    producer = _id("a producer's name", call.producer)
    if call.sequence is None or not 1 <= call.sequence < 1 << 64:
        raise ValueError("a producer's calls have numbers from 1 to 2^64 - 1")
    return Tag.PRODUCER, ProducerField(call.sequence, producer)


def _id(what: str, text: Union[None, str, bytes]) -> bytes:
    known_by = text.encode() if isinstance(text, str) else text or b""
    if not 1 <= len(known_by) <= ID_SIZE_MAX:
        raise ValueError(f"{what} of {len(known_by)} bytes, where 1 to {ID_SIZE_MAX} may be")
    return known_by


def _flags(call: Call) -> int:
    flags = 0
    if call.flat:
        flags |= Flag.FLAT
    if call.limits:
        flags |= Flag.LIMITS
    if call.oauth:
        flags |= Flag.OAUTH
    return flags | durability(call.durable)


def durability(durable: Optional[bool]) -> int:
    """The flag for a wish."""
    if durable is None:
        return 0
    return Flag.DURABLE if durable else Flag.INTERVAL


def _named(call: Call, service: Optional[str]) -> List[Field]:
    fields: List[Field] = [] if service is None else [(Tag.SERVICE, service)]
    for tag, name in _NAMES:
        value = getattr(call, name)
        if value is not None:
            fields.append((tag, value))
    return fields


def _amount(amount: Union[int, Set]) -> Tuple[int, bool]:
    return (amount.amount, True) if isinstance(amount, Set) else (amount, False)


def _fixed(call: Call, n_rows: int, handle: int) -> Any:
    if call.operation is Operation.RESERVE:
        return ReservePart(n_rows, handle, call.ttl_s)
    if call.operation in (Operation.COMMIT, Operation.CANCEL):
        return SettlePart(n_rows, handle, call.reservation)
    return ApplicationPart(n_rows, handle)


def from_message(message: Message) -> Answer:
    """What was answered. Raises `Refused`."""
    if status_class(message.status):
        text = message.field(Tag.MESSAGE) or ""
        raise Refused(message.operation, message.status, text, message.fixed.retry_ms)
    if message.operation in DECIDED:
        return _decision(message)
    part = message.fixed
    if message.operation in RECEIPTED:
        marks = part.marks
        return Receipt(
            named(Outcome, part.outcome),  # type: ignore[arg-type]
            bool(marks & ReceiptMark.ON_DISK),
            bool(marks & ReceiptMark.BEHIND),
            part.catalog,
        )
    if message.operation == Operation.QUERY:
        return _usage_report(message)
    return Pong(*part) if message.operation == Operation.PING else NodeStats(bool(part[0]), *part[1:])


def _decision(message: Message) -> Decision:
    part = message.fixed
    marks = part.marks
    bound = bool(marks & DecisionMark.LIMIT)
    return Decision(
        bool(part.yes),
        bool(marks & DecisionMark.COUNTED),
        _reason(part.reason),
        _reason(part.shadow_reason),
        part.limit if bound else None,
        part.maximum if bound else None,
        part.count if bound else None,
        _unless_never(part.remaining),
        _unless_never(part.reset_ms) if bound else None,
        _unless_never(part.retry_ms),
        part.catalog,
        part.reservation,
        tuple(_limit(value) for tag, value in message.fields if tag == Tag.LIMIT),  # type: ignore[arg-type]
        bool(marks & DecisionMark.BEHIND),
    )


def _reason(number: int) -> Optional[str]:
    if number == 0:
        return None
    known = named(Reason, number)
    return known.name.lower() if isinstance(known, Reason) else f"reason_{number}"


def _unless_never(number: int) -> Optional[int]:
    return None if number == NEVER else number


def _limit(row: LimitRow) -> Limit:
    period = named(Period, row.period)
    name = period.name.lower() if isinstance(period, Period) else f"period_{row.period}"
    reset_ms, in_shadow = _unless_never(row.reset_ms), bool(row.marks & LIMIT_IN_SHADOW)
    return Limit(row.limit, row.metric, name, row.maximum, row.count, row.held, reset_ms, in_shadow)


def _usage_report(message: Message) -> UsageReport:
    part = message.fixed
    names = {value.metric: value.name for tag, value in message.fields if tag == Tag.METRIC}  # type: ignore[union-attr]
    limits = tuple(_limit(row) for row in message.rows if isinstance(row, LimitRow))
    counts = {names.get(row[0], str(row[0])): Counts(*row[1:]) for row in message.rows[len(limits) :]}
    return UsageReport(
        bool(part.active), part.reservations, limits, counts, names, part.catalog, part.time_us
    )
