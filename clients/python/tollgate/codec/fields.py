"""Fields: what follows the fixed part of a body."""

from __future__ import annotations

from struct import Struct, error
from typing import List, NamedTuple, Tuple, Union

from .layout import LimitRow, Malformed, pack_row, unpack_limit
from .numbers import MUST_UNDERSTAND, Status, Tag, named

_HEAD, _USAGE, _TIMESTAMP, _METRIC, _LIMIT_SIZE = Struct("<HH"), Struct("<BQ"), Struct("<q"), Struct("<I"), 48
_SEQUENCE = Struct("<Q")
_SEVERAL = frozenset({Tag.USAGE, Tag.METRIC, Tag.LIMIT})


class UsageField(NamedTuple):
    """Usage of a metric by name."""

    name: str
    amount: int
    sets: bool = False


class ProducerField(NamedTuple):
    """The number of a request, and who numbers it."""

    sequence: int
    name: bytes


class MetricField(NamedTuple):
    """A metric's number and name, in answers."""

    metric: int
    name: str


Value = Union[str, int, bytes, UsageField, ProducerField, MetricField, LimitRow]
Field = Tuple[int, Value]


def pack_field(tag: int, value: Value) -> bytes:
    """A field. Text goes as UTF-8, an `int` as a TIMESTAMP, bytes as they are."""
    if isinstance(value, str):
        body = value.encode()
    elif isinstance(value, bytes):
        body = value
    elif isinstance(value, UsageField):
        body = _USAGE.pack(value.sets, value.amount) + value.name.encode()
    elif isinstance(value, ProducerField):
        body = _SEQUENCE.pack(value.sequence) + value.name
    elif isinstance(value, MetricField):
        body = _METRIC.pack(value.metric) + value.name.encode()
    elif isinstance(value, LimitRow):
        body = pack_row(value)
    else:
        body = _TIMESTAMP.pack(value)
    if len(body) > 0xFFFF:
        raise ValueError(f"a field of {len(body)} bytes, where 65,535 may be")
    return _HEAD.pack(tag, len(body)) + body


def unpack_fields(body: bytes, at: int, answer: bool) -> Tuple[Field, ...]:
    """The fields from `at` to the end. Those without a name stay bytes, unless they must be understood."""
    found: List[Field] = []
    seen = 0
    while at < len(body):
        if len(body) - at < _HEAD.size:
            raise Malformed("half of a field's head")
        tag, size = _HEAD.unpack_from(body, at)
        at += _HEAD.size
        if at + size > len(body):
            raise Malformed("a field beyond the frame")
        name = named(Tag, tag)
        if isinstance(name, Tag) and name not in _SEVERAL:
            bit = 1 << (tag & ~MUST_UNDERSTAND)
            if seen & bit:
                raise Malformed(f"{name.name} twice")
            seen |= bit
        found.append((name, _value(name, body[at : at + size], answer)))
        at += size
    return tuple(found)


def _value(tag: int, value: bytes, answer: bool) -> Value:
    if not isinstance(tag, Tag):
        if tag & MUST_UNDERSTAND:
            raise Malformed(f"a field that must be understood: {tag}", Status.NOT_SUPPORTED)
        return value
    if tag is Tag.IDEMPOTENCY:
        return value
    try:
        if tag is Tag.TIMESTAMP:
            return int(_TIMESTAMP.unpack(value)[0])
        if tag is Tag.LIMIT:
            return unpack_limit(_exactly(value, _LIMIT_SIZE), 0)
        if tag is Tag.USAGE:
            kind, amount = _USAGE.unpack_from(value)
            if kind > 1:
                raise Malformed(f"usage of kind {kind}")
            return UsageField(_text(value[_USAGE.size :]), amount, kind == 1)
        if tag is Tag.PRODUCER:
            return ProducerField(_SEQUENCE.unpack_from(value)[0], value[_SEQUENCE.size :])
        if tag is Tag.METRIC and answer:
            return MetricField(_METRIC.unpack_from(value)[0], _text(value[_METRIC.size :]))
    except error as reason:
        raise Malformed(f"{tag.name}: {reason}") from None
    return _text(value)


def _exactly(value: bytes, size: int) -> bytes:
    if len(value) != size:
        raise Malformed(f"a value of {len(value)} bytes, where {size} must be")
    return value


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise Malformed("not UTF-8", Status.NOT_VALID_DATA) from None
