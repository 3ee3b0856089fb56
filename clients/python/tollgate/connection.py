"""A connection of the synchronous client."""

from __future__ import annotations

import socket
import ssl
import time
from collections import deque
from typing import Dict, List, Optional, Sequence

from .codec.layout import Malformed, WelcomePart
from .codec.message import FrameReader, Message, decode, encode
from .codec.numbers import Operation, Status, Tag, Why
from .errors import TollgateError, Unavailable
from .handshake import Handshake
from .options import Options
from .plans import Outcome

_CHUNK = 65_536
IN_FLIGHT_MAX = 65_536
"""Bytes of requests sent before answers are read: both sides' socket buffers take what belongs to them."""
LEAVING = frozenset({Why.STOPS, Why.ANOTHER_TAKES_OVER})
"""Goodbyes after which what was sent is still answered."""


class Flight:
    """Requests on their way, and what came of them."""

    def __init__(self, messages: Sequence[Message], first_id: int) -> None:
        """Raises ValueError if one of them cannot be encoded."""
        self._frames = deque(encode(message, first_id + at) for at, message in enumerate(messages))
        self._outcomes: List[Optional[Outcome]] = [None] * len(messages)
        self._first_id = first_id
        self._sizes: Dict[int, int] = {}
        """Of those sent and not answered, by their place."""
        self._bytes = 0

    def next_bytes(self, window: int) -> bytes:
        """What may be sent now."""
        parts: List[bytes] = []
        while self._frames and len(self._sizes) < window:
            size = len(self._frames[0])
            if self._sizes and self._bytes + size > IN_FLIGHT_MAX:
                break
            self._sizes[len(self._outcomes) - len(self._frames)] = size
            self._bytes += size
            parts.append(self._frames.popleft())
        return b"".join(parts)

    def answer(self, message: Message) -> bool:
        """Takes an answer. False if nobody waits for it."""
        place = message.id - self._first_id
        if not message.answer or place not in self._sizes:
            return False
        self._bytes -= self._sizes.pop(place)
        self._outcomes[place] = message
        return True

    def is_over(self, leaving: bool) -> bool:
        """All that was sent is answered, and nothing more is to be sent."""
        return not self._sizes and (leaving or not self._frames)

    def outcomes(self, why: str) -> List[Outcome]:
        """What came of each; `why` there are no more answers."""
        return [
            Unavailable(why, sent=place in self._sizes) if outcome is None else outcome
            for place, outcome in enumerate(self._outcomes)
        ]


class Connection:
    """One socket, used by one thread at a time. `deadline` is of `time.monotonic()`."""

    def __init__(self, options: Options, deadline: float) -> None:
        """Connects and shakes hands. Raises `Unavailable`, `Refused` or `NotTheNode`."""
        self.leaving = False
        """The node said goodbye: answers come, nothing new is to be sent."""
        self._reader = FrameReader()
        self._next_id = 1
        self._used = time.monotonic()
        self._socket = self._open(options, deadline)
        try:
            self.welcome: WelcomePart = self._shake_hands(options, deadline)
        except BaseException:
            self.close()
            raise

    def exchange(self, messages: Sequence[Message], deadline: float) -> List[Outcome]:
        """Sends, and collects the answers in the same order. What has none has a reason instead."""
        flight = Flight(messages, self._next_id)
        self._next_id += len(messages)
        why = "the node said goodbye"
        try:
            while not flight.is_over(self.leaving):
                if not self.leaving:
                    self._write(flight.next_bytes(self.welcome.window), deadline)
                for frame in self._reader.feed(self._read(deadline)):
                    self._take(decode(frame), flight)
        except (OSError, Malformed, TollgateError) as reason:
            why = _reason(reason)
            self.close()
        except BaseException:
            # Interrupted: half a frame may have been sent.
            self.close()
            raise
        self._used = time.monotonic()
        return flight.outcomes(why)

    def usable(self) -> bool:
        """Whether a request may be sent: looks whether the node said goodbye meanwhile."""
        if self.leaving or (time.monotonic() - self._used) * 2000 > self.welcome.idle_ms:
            return False
        try:
            self._socket.settimeout(0)
            data = self._socket.recv(_CHUNK)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        try:
            for frame in self._reader.feed(data):
                self._take(decode(frame), Flight((), 0))
        except (Malformed, TollgateError):
            return False
        return bool(data) and not self.leaving

    def close(self) -> None:
        """Ends it; nothing is waited for."""
        self.leaving = True
        self._socket.close()

    def _open(self, options: Options, deadline: float) -> socket.socket:
        place = options.place
        left = max(deadline - time.monotonic(), 0.001)
        try:
            if place.path is not None:
                return _connect_unix(place.path, left)
            plain = socket.create_connection((place.host, place.port), left)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            context = options.tls_context()
            if context is None:
                return plain
            return context.wrap_socket(plain, server_hostname=options.server_hostname or place.host)
        except OSError as reason:
            raise Unavailable(f"{options.address}: {reason}") from reason

    def _shake_hands(self, options: Options, deadline: float) -> WelcomePart:
        handshake = Handshake(options)
        try:
            self._write(handshake.opening(), deadline)
            while handshake.welcome is None:
                for frame in self._reader.feed(self._read(deadline)):
                    answer = handshake.receive(decode(frame))
                    if answer is not None:
                        self._write(answer, deadline)
                    elif handshake.welcome is not None:
                        self._reader.frame_max = handshake.welcome.frame_max
        except (OSError, Malformed) as reason:
            raise Unavailable(f"{options.address}: {_reason(reason)}") from reason
        except Unavailable as reason:
            raise Unavailable(f"{options.address}: {reason}") from reason
        return handshake.welcome

    def _take(self, message: Message, flight: Flight) -> None:
        if message.status == Status.DRAINING:
            self.leaving = True
        if flight.answer(message) or message.operation != Operation.GOAWAY:
            return
        self.leaving = True
        if message.fixed.why not in LEAVING:
            raise Unavailable(
                f"the node ended the connection: {message.field(Tag.MESSAGE) or message.fixed.why}"
            )

    def _write(self, data: bytes, deadline: float) -> None:
        if not data:
            return
        self._socket.settimeout(_left(deadline))
        self._socket.sendall(data)

    def _read(self, deadline: float) -> bytes:
        self._socket.settimeout(_left(deadline))
        data = self._socket.recv(_CHUNK)
        if not data:
            raise ConnectionError("the node ended the connection")
        return data


def _connect_unix(path: str, left: float) -> socket.socket:
    plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        plain.settimeout(left)
        plain.connect(path)
    except BaseException:
        plain.close()
        raise
    return plain


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise socket.timeout("timed out")
    return left


def _reason(reason: BaseException) -> str:
    return "no answer in time" if isinstance(reason, socket.timeout) else str(reason) or type(reason).__name__
