"""How a client behaves."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import NamedTuple, Optional, Tuple, Union

from .codec.numbers import FRAME_MAX, FRAME_MAX_LEAST, FRAME_MAX_MOST, Method

ALPN = "tollgate/1"
AWAY = ("raise", "allow", "deny")


class Place(NamedTuple):
    """Where a node listens: a host and port, or a path."""

    host: str
    port: int
    path: Optional[str]
    tls: bool


@dataclass(frozen=True)
class Options:
    """Everything that can be said about a client. Raises ValueError if it does not fit together."""

    address: str
    """`host:port`, `[::1]:port`, `tls://host:port`, or `unix:PATH`."""
    service: Optional[str] = None
    """The service of calls that name none; with a token it is the service that the token opens."""
    token: Optional[str] = None
    """A service token: opens `service` alone."""
    secret: Optional[str] = None
    """A line of the node's file `node-secret`: opens all services. Neither: the Unix socket knows who one is."""
    tls: Optional[ssl.SSLContext] = None
    """For `tls://`; by default the system's authorities and no certificate of the client's."""
    server_hostname: Optional[str] = None
    """The name in the node's certificate, if it is not the host."""
    verify_node: bool = True
    """A node that cannot prove that it has the secret is not talked to."""
    name: str = "tollgate-python"
    """Name and version of the program, for the node's logs. At most 64 bytes."""
    timeout_s: float = 1.0
    """For a call, connecting and repetition included."""
    away: str = "raise"
    """What is decided while the node is away: "raise" (`Unavailable` or `Refused`), "allow" or "deny"."""
    backoff_min_s: float = 0.01
    """Between the first two attempts to connect; doubles with each."""
    backoff_max_s: float = 1.0
    connections: int = 4
    """Of `Client`: how many threads are served at a time; others wait. `AsyncClient` needs one."""
    frame_max: int = FRAME_MAX
    """Bytes of the largest frame to ask for, 4,096 to 1,048,576: how much a BATCH can take."""
    window: int = 256
    """Requests without an answer to ask for."""
    bind: bool = True
    """Calls use handles instead of names."""
    bindings_max: int = 10_000
    """Applications whose handles are kept; the oldest goes first."""

    def __post_init__(self) -> None:
        if self.away not in AWAY:
            raise ValueError(f"away is one of {', '.join(AWAY)}, not {self.away!r}")
        if self.token is not None and (self.service is None or self.secret is not None):
            raise ValueError("a token needs a service, and no secret beside it")
        if not FRAME_MAX_LEAST <= self.frame_max <= FRAME_MAX_MOST:
            raise ValueError(f"frame_max is {FRAME_MAX_LEAST} to {FRAME_MAX_MOST}, not {self.frame_max}")
        if self.window < 1 or self.connections < 1 or self.bindings_max < 1:
            raise ValueError("window, connections and bindings_max are at least 1")
        self.place  # noqa: B018 (refuses an address that is none)

    @property
    def place(self) -> Place:
        """Where the node listens."""
        address = self.address
        if address.startswith("unix:"):
            return Place("", 0, address[len("unix:") :], False)
        tls = address.startswith("tls://")
        host, colon, port = address[len("tls://") if tls else 0 :].rpartition(":")
        if not colon or not port.isdigit() or int(port) > 0xFFFF:
            raise ValueError(f"an address is host:port, tls://host:port or unix:PATH, not {address!r}")
        return Place(host.strip("[]"), int(port), None, tls)

    @property
    def proof(self) -> Tuple[Method, Union[bytes, None]]:
        """How the client proves who it is, and with what."""
        if self.token is not None:
            return Method.SERVICE_TOKEN, self.token.encode()
        if self.secret is not None:
            return Method.NODE_SECRET, self.secret.encode()
        return Method.NONE, None

    @property
    def default_service(self) -> Optional[str]:
        """What a call must say that names no service."""
        return None if self.token is not None else self.service

    def tls_context(self) -> Optional[ssl.SSLContext]:
        """The context of a connection; None if it is a plain one."""
        if not self.place.tls:
            return None
        context = self.tls or ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.set_alpn_protocols([ALPN])
        return context
