"""What is asked and what is answered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, Mapping, NamedTuple, Optional, Tuple, Union

from .codec.numbers import Operation, Outcome


class Set(NamedTuple):
    """An amount that replaces a count instead of adding to it, in reports and calls."""

    amount: int


Usage = Mapping[str, Union[int, Set]]
"""Amounts by the metric's name."""


@dataclass(frozen=True)
class Call:
    """A request about one application. Which of these mean something depends on the operation and on the service."""

    operation: Operation
    usage: Usage = field(default_factory=dict)
    user_key: Optional[str] = None
    """Names the application, for services of backend version 1."""
    app_id: Optional[str] = None
    """Names the application, for the others."""
    app_key: Optional[str] = None
    """Where the application has keys."""
    service: Optional[str] = None
    """The service's id. Not needed on a connection of one service."""
    referrer: Optional[str] = None
    redirect_uri: Optional[str] = None
    redirect_url: Optional[str] = None
    timestamp: Optional[int] = None
    """REPORT: when it happened, in seconds since 1970, at most 24 hours ago."""
    log_code: Optional[Union[int, str]] = None
    """AUTHREP, REPORT: a response code to count, three digits."""
    id: Optional[Union[str, bytes]] = None
    """AUTHREP, RESERVE, REPORT: what it is known by for a day, 1 to 64 bytes. With one it is counted once however often it
    is sent, so it is sent again if its answer is lost."""
    producer: Optional[Union[str, bytes]] = None
    """The same for who numbers its calls: a name, 1 to 64 bytes, instead of an id. The node remembers the 64 numbers up to the
    highest that it counted, so at most 64 calls of a producer may be under way at once; one below is refused
    (SEQUENCE_TOO_OLD). Who does not keep the last number takes a new name at each start."""
    sequence: Optional[int] = None
    """The call's number among the producer's, from 1."""
    flat: bool = False
    """Usage counts for the metrics named, not for their ancestors."""
    limits: bool = False
    """The decision shows all limits of the plan."""
    oauth: bool = False
    """The call of an OAuth client."""
    durable: Optional[bool] = None
    """True: answered when it is on disk. False: answered at once. None: as the operation does it."""
    ttl_s: int = 0
    """RESERVE: seconds, 1 to 3,600."""
    reservation: int = 0
    """COMMIT, CANCEL: what RESERVE answered."""
    metrics: Tuple[str, ...] = ()
    """QUERY: these metrics only; empty for all."""


def has_id(call: Call) -> bool:
    """Whether the node counts it once however often it is sent."""
    named = call.id is not None or call.producer is not None or call.sequence is not None
    return named and call.operation in (Operation.AUTHREP, Operation.RESERVE, Operation.REPORT)


class Limit(NamedTuple):
    """A limit and where it stands."""

    id: int
    metric: int
    """Its number; `UsageReport.names` has the name."""
    period: str
    """"eternity", "year", ... "minute"."""
    maximum: int
    """0 means that the metric is disabled."""
    count: int  # type: ignore[assignment]
    held: int
    """By reservations."""
    reset_ms: Optional[int]
    """Milliseconds until the window ends; None for an eternity."""
    in_shadow: bool
    """It denies nothing."""


class Decision(NamedTuple):
    """Yes or no, and why. True in a condition if the answer is yes."""

    yes: bool
    counted: bool = False
    """Usage was counted, or is held by a reservation."""
    reason: Optional[str] = None
    """Of a no: 3scale's code."""
    would_deny: Optional[str] = None
    """Of what is in shadow: the reason it would have said no for."""
    limit: Optional[int] = None
    """Id of the binding limit; None if no limit concerns the call, and then the next five say nothing."""
    maximum: Optional[int] = None
    count: Optional[int] = None  # type: ignore[assignment]
    """In the limit's window, this call included if it was counted."""
    remaining: Optional[int] = None
    """How often the same call could still be made; None if without bound."""
    reset_ms: Optional[int] = None
    """Milliseconds until the window ends; None for an eternity."""
    retry_ms: Optional[int] = 0
    """After a no because of limits: milliseconds until the same call may be made, None if waiting does not help."""
    catalog: int = 0
    """Catalog version that it was decided under."""
    reservation: int = 0
    limits: Tuple[Limit, ...] = ()
    """If they were asked for."""
    behind: bool = False
    """The node is behind in writing to disk."""
    away: bool = False
    """The node was away, and the client's policy decided; all else says nothing."""

    def __bool__(self) -> bool:
        return self.yes


class Receipt(NamedTuple):
    """What became of a report, commit or cancellation."""

    outcome: Outcome
    """DONE; OVERRUN: more than was held, counted in full; EXPIRED: after the time to live, a commit counted."""
    on_disk: bool
    behind: bool
    """The node is behind in writing to disk."""
    catalog: int


class Counts(NamedTuple):
    """Counts of a metric in the windows that are open now."""

    eternity: int
    year: int
    month: int
    week: int
    day: int
    hour: int
    minute: int


class UsageReport(NamedTuple):
    """Usage and limits of an application."""

    active: bool
    """The application's state is active."""
    reservations: int
    """How many are open."""
    limits: Tuple[Limit, ...]
    counts: Dict[str, Counts]
    """By the metric's name."""
    names: Dict[int, str]
    """Metric numbers and names."""
    catalog: int
    time_us: int
    """The node's time in microseconds since 1970."""


class Pong(NamedTuple):
    """A node that is there."""

    time_us: int
    """Its time in microseconds since 1970."""
    catalog: int


class NodeStats(NamedTuple):
    """Figures of a node since it started."""

    behind: bool
    """In writing to disk."""
    uptime_s: int
    connections: int
    frames: int
    decisions: int
    denied: int
    applications: int
    catalog: int
    unflushed_us: int
    """The most that a crash can take, in microseconds."""
