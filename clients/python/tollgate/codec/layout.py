"""Fixed parts and rows: their layout on the wire, and named tuples of what is in them."""

from __future__ import annotations

from struct import Struct
from typing import Any, Callable, Dict, Generic, NamedTuple, Optional, Tuple, Type, TypeVar, Union

from .numbers import DECIDED, RECEIPTED, SETS, Operation, Status

_Part = TypeVar("_Part", bound="Tuple[Any, ...]")


class Malformed(Exception):
    """Bytes are not what the protocol prescribes.

    `status` is what a node answers to a request like that."""

    def __init__(self, what: str, status: Status = Status.MALFORMED) -> None:
        super().__init__(what)
        self.status = status


class Fixed(Generic[_Part]):
    """The layout of a fixed part, which begins with its own length."""

    def __init__(self, layout: str, part: Type[_Part]) -> None:
        self._struct = Struct("<H" + layout)
        self.part = part
        self.size = self._struct.size

    def pack(self, part: _Part) -> bytes:
        return self._struct.pack(self.size, *part)

    def unpack(self, body: bytes) -> Tuple[_Part, int]:
        """What is in the fixed part, and where it ends: further on than known, if a later version appended to it."""
        end = int.from_bytes(body[:2], "little")
        if not self.size <= end <= len(body):
            raise Malformed(f"a fixed part of {end} bytes, where {self.size} to {len(body)} may be")
        _, *values = self._struct.unpack_from(body)
        return self.part(*values), end


class Nothing(NamedTuple):
    """A fixed part of zeros."""


class ApplicationPart(NamedTuple):
    """AUTHORIZE, AUTHREP, CHECK, REPORT, QUERY. A handle of 0: fields name the application."""

    n_rows: int
    handle: int


class ReservePart(NamedTuple):
    """RESERVE. `ttl_s` is the time to live in seconds."""

    n_rows: int
    handle: int
    ttl_s: int


class SettlePart(NamedTuple):
    """COMMIT and CANCEL."""

    n_rows: int
    handle: int
    reservation: int


class HelloPart(NamedTuple):
    """What a client wants."""

    method: int
    lowest: int
    highest: int
    frame_max: int
    window: int
    features: int
    nonce: bytes


class ChallengePart(NamedTuple):
    """A node's nonce."""

    nonce: bytes


class ProofPart(NamedTuple):
    """A client's HMAC."""

    mac: bytes


class WelcomePart(NamedTuple):
    """What a client gets. Times in milliseconds, or microseconds since 1970."""

    version: int
    frame_max: int
    window: int
    idle_ms: int
    features: int
    session: int
    node: int
    time_us: int
    catalog: int
    mac: bytes


class DecisionPart(NamedTuple):
    """Yes or no, and the binding limit."""

    yes: int
    marks: int
    reason: int
    shadow_reason: int
    limit: int
    maximum: int
    count: int  # type: ignore[assignment]
    remaining: int
    reset_ms: int
    retry_ms: int
    catalog: int
    reservation: int


class ReceiptPart(NamedTuple):
    """What became of something that happened."""

    outcome: int
    marks: int
    catalog: int


class BoundPart(NamedTuple):
    """A handle."""

    bound: int
    reason: int
    n_rows: int
    handle: int
    catalog: int


class BatchPart(NamedTuple):
    """How many items follow."""

    n_items: int


class BatchAnswerPart(NamedTuple):
    """How many answers follow; `done` is 0 if none of the items of a BATCH with ALL is."""

    n_items: int
    done: int


class QueryAnswerPart(NamedTuple):
    """Numbers of rows, and when they were true."""

    active: int
    reservations: int
    n_limits: int
    n_usages: int
    catalog: int
    time_us: int


class PongPart(NamedTuple):
    """The node's time."""

    time_us: int
    catalog: int


class StatsPart(NamedTuple):
    """Figures of a node since it started."""

    behind: int
    uptime_s: int
    connections: int
    frames: int
    decisions: int
    denied: int
    applications: int
    catalog: int
    unflushed_us: int


class GoawayPart(NamedTuple):
    """Why and when a connection ends."""

    why: int
    close_ms: int


class ErrorPart(NamedTuple):
    """When the request may be sent again; 0 if that says nothing."""

    retry_ms: int


APPLICATION = Fixed("B5xQ", ApplicationPart)
SETTLE = Fixed("B5xQQ", SettlePart)
DECISION = Fixed("BBHH8Q", DecisionPart)
RECEIPT = Fixed("BB4xQ", ReceiptPart)
WELCOME = Fixed("HIII5Q32s", WelcomePart)
CHALLENGE = Fixed("6x32s", ChallengePart)
ERROR = Fixed("2xI", ErrorPart)
REQUESTS: Dict[int, Optional[Fixed[Any]]] = {
    Operation.HELLO: Fixed("BxHHIIQ32s", HelloPart),
    Operation.PROOF: Fixed("6x32s", ProofPart),
    Operation.PING: None,
    Operation.STATS: None,
    Operation.AUTHORIZE: APPLICATION,
    Operation.AUTHREP: APPLICATION,
    Operation.CHECK: APPLICATION,
    Operation.REPORT: APPLICATION,
    Operation.QUERY: APPLICATION,
    Operation.RESERVE: Fixed("B5xQI4x", ReservePart),
    Operation.COMMIT: SETTLE,
    Operation.CANCEL: SETTLE,
    Operation.BIND: Fixed("6x", Nothing),
    Operation.BATCH: Fixed("H4x", BatchPart),
}
ANSWERS: Dict[int, Optional[Fixed[Any]]] = {
    **dict.fromkeys(DECIDED, DECISION),
    **dict.fromkeys(RECEIPTED, RECEIPT),
    Operation.HELLO: WELCOME,
    Operation.PROOF: WELCOME,
    Operation.PING: Fixed("6xQQ", PongPart),
    Operation.STATS: Fixed("B5x8Q", StatsPart),
    Operation.GOAWAY: Fixed("HI", GoawayPart),
    Operation.BIND: Fixed("BxHHQQ", BoundPart),
    Operation.BATCH: Fixed("HB3x", BatchAnswerPart),
    Operation.QUERY: Fixed("BBHHQQ", QueryAnswerPart),
}


class UsageRow(NamedTuple):
    """Usage of a metric by number."""

    metric: int
    amount: int
    sets: bool = False


class MetricRow(NamedTuple):
    """The number of a metric that was bound."""

    metric: int


class LimitRow(NamedTuple):
    """A limit and where it stands. `reset_ms` is `NEVER` for an eternity."""

    limit: int
    metric: int
    period: int
    marks: int
    maximum: int
    count: int  # type: ignore[assignment]
    held: int
    reset_ms: int


class CountsRow(NamedTuple):
    """The counts of a metric in the windows that are open now."""

    metric: int
    eternity: int
    year: int
    month: int
    week: int
    day: int
    hour: int
    minute: int


Row = Union[UsageRow, MetricRow, LimitRow, CountsRow]
_USAGE, _METRIC = Struct("<IQ"), Struct("<I")
_LIMIT, _COUNTS = Struct("<QIBB2xQQQQ"), Struct("<I4x7Q")


def pack_row(row: Row) -> bytes:
    if isinstance(row, UsageRow):
        return _USAGE.pack(row.metric | SETS if row.sets else row.metric, row.amount)
    if isinstance(row, MetricRow):
        return _METRIC.pack(*row)
    return (_LIMIT if isinstance(row, LimitRow) else _COUNTS).pack(*row)


def unpack_usage(body: bytes, at: int) -> UsageRow:
    metric, amount = _USAGE.unpack_from(body, at)
    return UsageRow(metric & ~SETS, amount, bool(metric & SETS))


def unpack_metric(body: bytes, at: int) -> MetricRow:
    return MetricRow(*_METRIC.unpack_from(body, at))


def unpack_limit(body: bytes, at: int) -> LimitRow:
    return LimitRow(*_LIMIT.unpack_from(body, at))


def unpack_counts(body: bytes, at: int) -> CountsRow:
    return CountsRow(*_COUNTS.unpack_from(body, at))


ROW_SIZES: Dict[Callable[[bytes, int], Row], int] = {
    unpack_usage: 12,
    unpack_metric: 4,
    unpack_limit: 48,
    unpack_counts: 64,
}
