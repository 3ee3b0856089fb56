"""Whole frames: bytes to messages and back, in both directions."""

from __future__ import annotations

from struct import Struct, error
from typing import Any, Callable, Iterator, List, NamedTuple, Optional, Tuple

from .fields import Field, UsageField, pack_field, unpack_fields
from .layout import (
    ANSWERS,
    CHALLENGE,
    ERROR,
    REQUESTS,
    ROW_SIZES,
    Fixed,
    Malformed,
    Row,
    pack_row,
    unpack_counts,
    unpack_limit,
    unpack_metric,
    unpack_usage,
)
from .numbers import (
    ANSWER,
    DECIDED,
    FLAGS_OF,
    FLAGS_OF_ITEMS,
    FRAME_MAX,
    HEADER_SIZE,
    ITEM_HEADER_SIZE,
    RECEIPTED,
    ROWS_MAX,
    Flag,
    Operation,
    Status,
    named,
    status_class,
)

_IN_BATCH = DECIDED | RECEIPTED
_HEADER, _ITEM, _ANSWERED_ITEM = Struct("<IBBHQ"), Struct("<HBB4x"), Struct("<HBxH2x")


class Message(NamedTuple):
    """A frame, or an item of a BATCH (whose id is 0).

    `fixed` is a tuple of `layout`, or None where there is no body. Of an operation without a name only the header is
    known."""

    operation: int
    answer: bool = False
    flags: int = 0
    status: int = Status.OK
    id: int = 0
    fixed: Any = None
    rows: Tuple[Row, ...] = ()
    items: Tuple[Message, ...] = ()
    fields: Tuple[Field, ...] = ()

    def field(self, tag: int) -> Any:
        """The value of the first field with this tag, or None."""
        return next((value for found, value in self.fields if found == tag), None)


def encode(message: Message, id_: Optional[int] = None) -> bytes:
    """A frame, with the message's id or another. Raises ValueError if a number does not fit its place."""
    body = encode_body(message)
    operation = message.operation | ANSWER if message.answer else message.operation
    return (
        _HEADER.pack(HEADER_SIZE + len(body), operation, message.flags, message.status, id_ or message.id)
        + body
    )


def encode_item(message: Message) -> bytes:
    """An item of a BATCH or of its answer."""
    body = encode_body(message)
    size = ITEM_HEADER_SIZE + len(body)
    if size > 0xFFFF:
        raise ValueError(f"an item of {size} bytes, where 65,535 may be")
    if message.answer:
        return _ANSWERED_ITEM.pack(size, message.operation | ANSWER, message.status) + body
    return _ITEM.pack(size, message.operation, message.flags) + body


def encode_body(message: Message) -> bytes:
    """What follows the header."""
    layout = _layout(message)
    try:
        parts = [] if layout is None or message.fixed is None else [layout.pack(message.fixed)]
        parts.extend(map(pack_row, message.rows))
        parts.extend(map(encode_item, message.items))
        parts.extend(pack_field(tag, value) for tag, value in message.fields)
    except error as reason:
        raise ValueError(f"a number that does not fit its place: {reason}") from None
    return b"".join(parts)


def decode(frame: bytes) -> Message:
    """A whole frame. Raises `Malformed` with what a node answers to it."""
    _, operation, flags, status, id_ = _HEADER.unpack_from(frame)
    answer = bool(operation & ANSWER)
    head = Message(named(Operation, operation & ~ANSWER), answer, flags, named(Status, status), id_)
    return _decode_body(head, frame[HEADER_SIZE:])


def _layout(message: Message) -> Optional[Fixed[Any]]:
    if message.answer:
        if status_class(message.status):
            return ERROR
        if message.status == Status.CHALLENGE:
            return CHALLENGE
        return ANSWERS.get(message.operation)
    return REQUESTS.get(message.operation)


def _decode_body(head: Message, body: bytes) -> Message:
    if not head.answer:
        _check_request(head)
    layout = _layout(head)
    if layout is None:
        return head
    fixed, at = layout.unpack(body)
    rows: List[Row] = []
    items: List[Message] = []
    for unpack, count in _rows(head, fixed):
        at = _decode_rows(body, at, unpack, count, rows)
    if hasattr(fixed, "n_items"):
        at = _decode_items(head, body, at, fixed.n_items, items)
    fields = unpack_fields(body, at, head.answer)
    if not head.answer and len(rows) + sum(isinstance(value, UsageField) for _, value in fields) > ROWS_MAX:
        raise Malformed(f"more than {ROWS_MAX} metrics")
    return head._replace(fixed=fixed, rows=tuple(rows), items=tuple(items), fields=fields)


def _check_request(head: Message) -> None:
    if head.operation not in REQUESTS:
        known = head.operation == Operation.GOAWAY
        raise Malformed("no request", Status.OUT_OF_PLACE if known else Status.UNKNOWN_OPERATION)
    check_flags(head.operation, head.flags)


def check_flags(operation: int, flags: int, item: bool = False) -> None:
    """Raises `Malformed` if an operation (or an item of a BATCH) may not have these flags."""
    if not flags:
        return
    allowed = FLAGS_OF.get(operation, 0)
    if item:
        allowed &= FLAGS_OF_ITEMS
    if flags & ~allowed:
        where = " in a batch" if item else ""
        raise Malformed(
            f"{Operation(operation).name} has no flag {flags & ~allowed:#x}{where}", Status.NOT_SUPPORTED
        )
    if flags & Flag.DURABLE and flags & Flag.INTERVAL:
        raise Malformed("DURABLE and INTERVAL at once")


def _rows(head: Message, fixed: Any) -> Iterator[Tuple[Callable[[bytes, int], Row], int]]:
    """What rows come, and how many."""
    if hasattr(fixed, "n_rows"):
        yield (unpack_metric if head.answer else unpack_usage), fixed.n_rows
    elif hasattr(fixed, "n_limits"):
        yield unpack_limit, fixed.n_limits
        yield unpack_counts, fixed.n_usages


def _decode_rows(
    body: bytes, at: int, unpack: Callable[[bytes, int], Row], count: int, into: List[Row]
) -> int:
    size = ROW_SIZES[unpack]
    end = at + size * count
    if end > len(body):
        raise Malformed("rows beyond the frame")
    into.extend(unpack(body, start) for start in range(at, end, size))
    return end


def _decode_items(head: Message, body: bytes, at: int, count: int, into: List[Message]) -> int:
    if count == 0:
        raise Malformed("a batch without items")
    for _ in range(count):
        if len(body) - at < ITEM_HEADER_SIZE:
            raise Malformed("an item beyond the frame")
        size, operation, flags = _ITEM.unpack_from(body, at)
        status = _ANSWERED_ITEM.unpack_from(body, at)[2] if head.answer else Status.OK
        if not ITEM_HEADER_SIZE <= size <= len(body) - at:
            raise Malformed("an item beyond the frame")
        item = Message(named(Operation, operation & ~ANSWER), head.answer, flags, named(Status, status))
        # What is out of place is answered so in its place; batches in batches would not end.
        if item.operation in _IN_BATCH or status_class(item.status):
            item = _decode_body(item, body[at + ITEM_HEADER_SIZE : at + size])
        into.append(item)
        at += size
    return at


class FrameReader:
    """Cuts a stream of bytes into frames."""

    def __init__(self, frame_max: int = FRAME_MAX) -> None:
        self.frame_max = frame_max
        self._bytes = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The frames that are whole now. Raises `Malformed` if the stream cannot be what it should."""
        self._bytes += data
        at = 0
        try:
            while len(self._bytes) - at >= HEADER_SIZE:
                size = int.from_bytes(self._bytes[at : at + 4], "little")
                if not HEADER_SIZE <= size <= self.frame_max:
                    raise Malformed(
                        f"a frame of {size} bytes, where {HEADER_SIZE} to {self.frame_max} may be"
                    )
                if len(self._bytes) - at < size:
                    break
                at += size
                yield bytes(self._bytes[at - size : at])
        finally:
            del self._bytes[:at]
