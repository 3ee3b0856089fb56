"""What can go wrong. A denial is not among it: it is an answer (`Decision`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from .codec.numbers import Operation, Status, status_class

if TYPE_CHECKING:
    from .model import Decision

_NODE = 4
_LATER = frozenset({Status.OVERLOADED, Status.DRAINING, Status.STORAGE_UNAVAILABLE})
_NOTHING_COUNTED = _LATER | {Status.TOO_MUCH_FUTURE_USAGE}


class TollgateError(Exception):
    """Any failure of this package."""


class Refused(TollgateError):
    """The node refused a request: `status` says why.

    `retry_ms`: milliseconds after which the same request may be sent again, 0 if that says nothing."""

    def __init__(self, operation: int, status: int, message: str = "", retry_ms: int = 0) -> None:
        what, why = (getattr(it, "name", hex(it)) for it in (operation, status))
        super().__init__(f"{what} refused: {why}" + (f" ({message})" if message else ""))
        self.operation, self.status, self.message, self.retry_ms = operation, status, message, retry_ms

    @property
    def by_trouble(self) -> bool:
        """The request is fine, the node is not."""
        return status_class(self.status) == _NODE

    @property
    def counted(self) -> Optional[bool]:
        """Whether its usage was counted all the same; None if that is not known."""
        if not self.by_trouble or self.status in _NOTHING_COUNTED:
            return False
        return True if self.status == Status.NOT_DURABLE else None


class Unavailable(TollgateError):
    """There was no answer: no connection, a connection that ended, or a time that passed.

    `sent`: the request may have reached the node, and may have been counted."""

    def __init__(self, message: str, sent: bool = False) -> None:
        super().__init__(message)
        self.sent = sent

    @property
    def counted(self) -> Optional[bool]:
        """False if it certainly was not counted; else None."""
        return None if self.sent else False


class NotTheNode(TollgateError):
    """Who answers does not have the secret that the node must have."""


class Denied(TollgateError):
    """The answer is no, where the program goes on with a yes only: `limited` and `with client.reserve(...)`."""

    def __init__(self, decision: Decision) -> None:
        super().__init__(f"denied: {decision.reason}")
        self.decision = decision


def is_away(error: TollgateError) -> bool:
    """The node is away: a policy may answer in its place."""
    return isinstance(error, Unavailable) or (isinstance(error, Refused) and error.by_trouble)


SAFE_TO_REPEAT = frozenset({
    Operation.AUTHORIZE, Operation.CHECK, Operation.QUERY, Operation.BIND, Operation.PING, Operation.STATS,
})  # fmt: skip
"""Operations that change nothing, so that one whose answer was lost can be sent again."""


def repeat_after_s(error: TollgateError, safe: bool) -> Optional[float]:
    """Seconds after which a request that failed like this may be sent again; None if it must not be.

    `safe`: sent twice, it does the same as once."""
    if isinstance(error, Unavailable):
        return 0.0 if not error.sent or safe else None
    if isinstance(error, Refused) and error.status in _LATER:
        return error.retry_ms / 1000
    return None
