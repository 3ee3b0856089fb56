"""A connection of the asynchronous client: many exchanges share it."""

from __future__ import annotations

import asyncio
import socket
import time
from collections import deque
from typing import Deque, Dict, List, Optional, Sequence, Tuple

from .codec.layout import Malformed, WelcomePart
from .codec.message import FrameReader, Message, decode, encode
from .codec.numbers import Operation, Status, Tag
from .connection import LEAVING
from .errors import NotTheNode, Refused, TollgateError, Unavailable
from .handshake import Handshake
from .options import Options
from .plans import Outcome


class _Exchange:
    """Requests that go together, and who waits for what comes of them."""

    def __init__(self, size: int, done: asyncio.Future[List[Optional[Outcome]]]) -> None:
        self.outcomes: List[Optional[Outcome]] = [None] * size
        self.missing = size
        self.done = done

    def put(self, place: int, outcome: Outcome) -> None:
        if self.outcomes[place] is None:
            self.outcomes[place] = outcome
            self.missing -= 1
            if not self.missing and not self.done.done():
                self.done.set_result(self.outcomes)


class AioConnection(asyncio.Protocol):
    """What all callers ask for in one turn of the loop is written at once.

    Use `connect`; all else belongs to the loop that it ran in."""

    def __init__(self, options: Options) -> None:
        self.leaving = False
        """The node said goodbye, or the connection ended: nothing new is to be sent."""
        self.closed = False
        self._loop = asyncio.get_running_loop()
        self._handshake = Handshake(options)
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._reader = FrameReader()
        self._transport: Optional[asyncio.Transport] = None
        self._queue: Deque[Tuple[bytes, int, _Exchange, int]] = deque()
        self._pending: Dict[int, Tuple[_Exchange, int]] = {}
        self._next_id = 1
        self._flushing = False
        self._paused = False
        self._heard = self._written = time.monotonic()
        self._keep_alive: Optional[asyncio.TimerHandle] = None
        self._why = "the node ended the connection"

    @classmethod
    async def connect(cls, options: Options, deadline: float) -> AioConnection:
        """A connection after its handshake. Raises `Unavailable`, `Refused` or `NotTheNode`."""
        connection = cls(options)
        try:
            await asyncio.wait_for(connection._open(options), max(deadline - time.monotonic(), 0.001))
        except (OSError, asyncio.TimeoutError, Unavailable) as reason:
            connection.close()
            why = "no answer in time" if isinstance(reason, asyncio.TimeoutError) else reason
            raise Unavailable(f"{options.address}: {why}") from reason
        except BaseException:
            connection.close()
            raise
        return connection

    @property
    def welcome(self) -> WelcomePart:
        """What the node said. Only after `connect`."""
        assert self._handshake.welcome is not None
        return self._handshake.welcome

    @property
    def idle(self) -> bool:
        """Nobody waits for an answer."""
        return not self._pending and not self._queue

    async def exchange(self, messages: Sequence[Message], deadline: float) -> List[Outcome]:
        """Sends, and collects the answers in the same order. What has none has a reason instead."""
        exchange = _Exchange(len(messages), self._loop.create_future())
        for place, message in enumerate(messages):
            id_ = self._next_id
            self._next_id += 1
            self._queue.append((encode(message, id_), id_, exchange, place))
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)
        timer = self._loop.call_later(
            max(deadline - time.monotonic(), 0), self._give_up, exchange, time.monotonic()
        )
        try:
            return await exchange.done  # type: ignore[return-value]
        finally:
            timer.cancel()

    def close(self) -> None:
        """Ends it; who waits is told."""
        self.leaving = self.closed = True
        if self._keep_alive is not None:
            self._keep_alive.cancel()
        if self._transport is not None:
            self._transport.abort()
        self._fail()

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        plain = transport.get_extra_info("socket")
        if plain is not None and plain.family in (socket.AF_INET, socket.AF_INET6):
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._write(self._handshake.opening())

    def data_received(self, data: bytes) -> None:
        self._heard = time.monotonic()
        try:
            for frame in self._reader.feed(data):
                self._take(decode(frame))
        except (Malformed, TollgateError) as reason:
            self._why = str(reason)
            if not self._ready.done():
                known = isinstance(reason, (Refused, NotTheNode, Unavailable))
                self._ready.set_exception(reason if known else Unavailable(str(reason)))
            self.close()
            return
        self._flush()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._flush()

    def connection_lost(self, error: Optional[Exception]) -> None:
        if error is not None:
            self._why = str(error) or type(error).__name__
        if not self._ready.done():
            self._ready.set_exception(Unavailable(self._why))
        self.close()

    # How it does it.

    async def _open(self, options: Options) -> None:
        place, loop = options.place, self._loop
        if place.path is not None:
            await loop.create_unix_connection(lambda: self, place.path)
        else:
            context = options.tls_context()
            name = (options.server_hostname or place.host) if context else None
            await loop.create_connection(
                lambda: self, place.host, place.port, ssl=context, server_hostname=name
            )
        await self._ready
        self._keep_alive_later()

    def _take(self, message: Message) -> None:
        if self._handshake.welcome is None:
            answer = self._handshake.receive(message)
            if answer is not None:
                self._write(answer)
            elif not self._ready.done():
                self._reader.frame_max = self.welcome.frame_max
                self._ready.set_result(None)
            return
        if message.status == Status.DRAINING:
            self.leaving = True
        waiting = self._pending.pop(message.id, None) if message.answer else None
        if waiting is not None:
            exchange, place = waiting
            exchange.put(place, message)
        elif message.operation == Operation.GOAWAY:
            self._say_goodbye(message)
        if self.leaving and self.idle:
            self.close()

    def _say_goodbye(self, message: Message) -> None:
        self.leaving = True
        self._why = f"goaway: {message.field(Tag.MESSAGE) or message.fixed.why}"
        if message.fixed.why not in LEAVING:
            self.close()
        self._drop_queue()

    def _flush(self) -> None:
        """Writes what the window takes, at once."""
        self._flushing = False
        if self._handshake.welcome is None or self._paused:
            return
        if self.leaving:
            self._drop_queue()
            return
        parts: List[bytes] = []
        while self._queue and len(self._pending) < self.welcome.window:
            frame, id_, exchange, place = self._queue.popleft()
            if exchange.done.done():
                continue
            self._pending[id_] = (exchange, place)
            parts.append(frame)
        if parts:
            self._write(b"".join(parts))

    def _write(self, data: bytes) -> None:
        self._written = time.monotonic()
        if self._transport is not None:
            self._transport.write(data)

    def _drop_queue(self) -> None:
        """What was not sent may go elsewhere."""
        while self._queue:
            _, _, exchange, place = self._queue.popleft()
            exchange.put(place, Unavailable(self._why, sent=False))

    def _fail(self) -> None:
        self._drop_queue()
        pending, self._pending = self._pending, {}
        for exchange, place in pending.values():
            exchange.put(place, Unavailable(self._why, sent=True))

    def _give_up(self, exchange: _Exchange, since: float) -> None:
        """The time is over. A connection that said nothing at all in it is given up, too."""
        sent = {place for waiting, place in self._pending.values() if waiting is exchange}
        for place, outcome in enumerate(exchange.outcomes):
            if outcome is None:
                exchange.put(place, Unavailable("no answer in time", sent=place in sent))
        if sent and self._heard < since:
            self._why = "the node was silent"
            self.close()

    def _keep_alive_later(self) -> None:
        self._keep_alive = self._loop.call_later(max(self.welcome.idle_ms / 3000, 0.01), self._ping_if_idle)

    def _ping_if_idle(self) -> None:
        """The node ends a connection that says nothing for too long."""
        if self.leaving:
            return
        if (time.monotonic() - self._written) * 3000 >= self.welcome.idle_ms and self.idle:
            nobody = _Exchange(1, self._loop.create_future())
            self._queue.append((encode(Message(Operation.PING, id=self._next_id)), self._next_id, nobody, 0))
            self._next_id += 1
            self._flush()
        self._keep_alive_later()
