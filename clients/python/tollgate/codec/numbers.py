"""The protocol's numbers by name. A number without a name here is one of a later version: it stays a plain `int`."""

from __future__ import annotations

from enum import IntEnum
from typing import Dict, Type, TypeVar

NEVER = 2**64 - 1
ANSWER = 0x80
"""Set in the operation of an answer."""
MUST_UNDERSTAND = 0x8000
"""Set in the tag of a field that may not be skipped."""
SETS = 0x8000_0000
"""Set in the metric number of a usage row whose amount replaces the count."""


class Operation(IntEnum):
    """What a frame asks for."""

    HELLO = 0x01
    PROOF = 0x02
    PING = 0x05
    STATS = 0x06
    GOAWAY = 0x07
    AUTHORIZE = 0x10
    AUTHREP = 0x11
    REPORT = 0x12
    CHECK = 0x13
    BIND = 0x14
    BATCH = 0x16
    RESERVE = 0x17
    COMMIT = 0x18
    CANCEL = 0x19
    QUERY = 0x1A


class Flag(IntEnum):
    """How it is asked: bits. (Not an `IntFlag`, whose operators cost a microsecond each.)"""

    FLAT = 0x01
    LIMITS = 0x02
    DURABLE = 0x04
    INTERVAL = 0x08
    OAUTH = 0x10
    ALL = 0x20


class Status(IntEnum):
    """How a request fared; the high byte is the class (see `status_class`)."""

    OK = 0x0000
    DUPLICATE = 0x0001
    CHALLENGE = 0x0002
    MALFORMED = 0x0101
    UNKNOWN_OPERATION = 0x0102
    TOO_LARGE = 0x0103
    NOT_SUPPORTED = 0x0104
    OUT_OF_PLACE = 0x0105
    STALE_HANDLE = 0x0201
    SERVICE_ID_MISSING = 0x0202
    SERVICE_ID_INVALID = 0x0203
    AUTHENTICATION_ERROR = 0x0204
    USER_KEY_INVALID = 0x0205
    APPLICATION_NOT_FOUND = 0x0206
    METRIC_INVALID = 0x0207
    USAGE_VALUE_INVALID = 0x0208
    TIMESTAMP_TOO_OLD = 0x0209
    TIMESTAMP_TOO_NEW = 0x020A
    NOT_VALID_DATA = 0x020B
    RESERVATION_UNKNOWN = 0x020C
    TOO_MANY_RESERVATIONS = 0x020D
    TTL_INVALID = 0x020E
    NOT_DONE = 0x020F
    IDEMPOTENCY_CONFLICT = 0x0210
    SEQUENCE_TOO_OLD = 0x0211
    PROOF_INVALID = 0x0301
    METHOD_NOT_ALLOWED = 0x0302
    WAIT = 0x0303
    TENANT_SUSPENDED = 0x0304
    OVERLOADED = 0x0401
    DRAINING = 0x0402
    STORAGE_UNAVAILABLE = 0x0403
    TOO_MUCH_FUTURE_USAGE = 0x0404
    INTERNAL = 0x0405
    NOT_DURABLE = 0x0406
    IDEMPOTENCY_FULL = 0x0407


class Tag(IntEnum):
    """What a field says."""

    SERVICE = 1
    USER_KEY = 2
    APP_ID = 3
    APP_KEY = 4
    REFERRER = 5
    USAGE = 6
    TIMESTAMP = 7
    LOG_CODE = 8
    IDEMPOTENCY = 0x8009
    REDIRECT_URI = 10
    REDIRECT_URL = 11
    METRIC = 12
    CLIENT = 13
    PRODUCER = 0x800E
    MESSAGE = 64
    LIMIT = 65
    NODE = 66


class Reason(IntEnum):
    """Why the answer is no. The names in lower case are 3scale's codes."""

    LIMITS_EXCEEDED = 1
    APPLICATION_KEY_INVALID = 2
    REFERRER_NOT_ALLOWED = 3
    APPLICATION_NOT_ACTIVE = 4
    SERVICE_NOT_ACTIVE = 5
    OAUTH_NOT_ENABLED = 6
    REDIRECT_URI_INVALID = 7
    REDIRECT_URL_INVALID = 8


class Method(IntEnum):
    """How a client proves who it is."""

    NONE = 0
    NODE_SECRET = 1
    SERVICE_TOKEN = 2


class Feature(IntEnum):
    """What a node may or may not have."""

    DURABLE = 1
    IDEMPOTENCY = 2
    RESERVE = 4
    ALL = 8
    PRODUCER = 16


class Outcome(IntEnum):
    """What became of a report, commit or cancellation."""

    DONE = 0
    OVERRUN = 1
    EXPIRED = 2


class Period(IntEnum):
    """The span of a limit."""

    ETERNITY = 0
    YEAR = 1
    MONTH = 2
    WEEK = 3
    DAY = 4
    HOUR = 5
    MINUTE = 6


class Why(IntEnum):
    """Why a node says goodbye."""

    STOPS = 1
    ANOTHER_TAKES_OVER = 2
    PROTOCOL = 3
    IDLE = 4
    DOES_NOT_READ = 5
    HANDSHAKE = 6
    NO_ROOM = 7


class DecisionMark(IntEnum):
    """Marks of a decision."""

    COUNTED = 1
    SHADOW = 2
    LIMIT = 4
    BEHIND = 8


class ReceiptMark(IntEnum):
    """Marks of a receipt."""

    ON_DISK = 1
    BEHIND = 8


LIMIT_IN_SHADOW = 1
"""The mark of a limit row that denies nothing."""

DECIDED = frozenset({Operation.AUTHORIZE, Operation.AUTHREP, Operation.CHECK, Operation.RESERVE})
"""Operations that are answered with a decision."""

RECEIPTED = frozenset({Operation.REPORT, Operation.COMMIT, Operation.CANCEL})
"""Operations that are answered with a receipt."""

_WRITTEN = Flag.DURABLE | Flag.INTERVAL
FLAGS_OF: Dict[int, int] = {
    Operation.AUTHORIZE: Flag.FLAT | Flag.LIMITS | Flag.OAUTH,
    Operation.AUTHREP: Flag.FLAT | Flag.LIMITS | Flag.OAUTH | _WRITTEN,
    Operation.CHECK: Flag.FLAT | Flag.LIMITS,
    Operation.REPORT: Flag.FLAT | _WRITTEN,
    Operation.RESERVE: Flag.FLAT | Flag.LIMITS | _WRITTEN,
    Operation.COMMIT: Flag.FLAT | _WRITTEN,
    Operation.CANCEL: _WRITTEN,
    Operation.BATCH: Flag.ALL | _WRITTEN,
}
"""The flags that an operation may have; none if it is not here."""

FLAGS_OF_ITEMS = Flag.FLAT | Flag.OAUTH
"""The flags that an operation may have in a BATCH, of those it has anyway."""

OPENING = b"\xf7TGATE\r\n"
VERSION = 1
FRAME_MAX = 65_536
"""The frame maximum before WELCOME."""
FRAME_MAX_LEAST = 4_096
FRAME_MAX_MOST = 1_048_576
ROWS_MAX = 255
"""Metrics that one call may name."""
CLIENT_NAME_MAX = 64
"""Bytes of CLIENT."""
HEADER_SIZE = 16
ITEM_HEADER_SIZE = 8
BATCH_OVERHEAD = 24
ANSWERED_ITEM_SIZE_MAX = 80
"""What an item's answer may take; with the overhead it says how many fit a frame."""

_Enum = TypeVar("_Enum", bound=IntEnum)


def named(enum: Type[_Enum], number: int) -> int:
    """The member of `enum` with this number, or the number itself if it has no name."""
    return enum._value2member_map_.get(number, number)  # type: ignore[return-value]


def status_class(status: int) -> int:
    """0 done, 1 the program is wrong, 2 the request is refused, 3 access, 4 the node."""
    return status >> 8
