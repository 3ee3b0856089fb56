"""Client of Tollgate, the rate-limit and metering daemon: `Client` and `AsyncClient`. README.md is the manual."""

from functools import partial

from .aio import AsyncClient, AsyncReservation
from .client import Client, Reservation
from .codec.numbers import Operation, Outcome, Status
from .errors import Denied, NotTheNode, Refused, TollgateError, Unavailable
from .model import Call, Counts, Decision, Limit, NodeStats, Pong, Receipt, Set, UsageReport
from .options import Options

__version__ = "0.1.0"

authorize = partial(Call, Operation.AUTHORIZE)
"""A call for `batch`, like the client's method of that name; so are the next ones."""
authrep = partial(Call, Operation.AUTHREP)
check = partial(Call, Operation.CHECK)
report = partial(Call, Operation.REPORT)
reserve = partial(Call, Operation.RESERVE)
commit = partial(Call, Operation.COMMIT)
cancel = partial(Call, Operation.CANCEL)

__all__ = [
    "AsyncClient", "AsyncReservation", "Call", "Client", "Counts", "Decision", "Denied", "Limit", "NodeStats",
    "NotTheNode", "Operation", "Options", "Outcome", "Pong", "Receipt", "Refused", "Reservation", "Set", "Status",
    "TollgateError", "Unavailable", "UsageReport", "authorize", "authrep", "cancel", "check", "commit", "report",
    "reserve",
]  # fmt: skip
