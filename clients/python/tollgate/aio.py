"""The asynchronous client."""

from __future__ import annotations

import asyncio
import functools
import inspect
import time
from typing import TYPE_CHECKING, Any, Callable, Generator, List, Optional, Sequence, TypeVar

from . import limited as _limited
from .aio_connection import AioConnection
from .backoff import Backoff
from .bindings import Bindings
from .calls import Answer
from .codec.message import Message
from .codec.numbers import Operation
from .errors import NotTheNode, Refused, TollgateError, Unavailable, is_away, repeat_after_s
from .model import Call, Decision, NodeStats, Pong, Receipt, Usage, UsageReport
from .options import Options
from .plans import Context, Plan, Result, T, alone, batch, single
from .policy import decide, decided, is_safe, to_repeat
from .reservation import Held

if TYPE_CHECKING:
    from .named import Named, NamedUsage, Unpack

_Function = TypeVar("_Function", bound=Callable[..., Any])


class AsyncClient:
    """Talks to a node. Any number of tasks of one loop share a connection, and what they ask in one turn of the loop
    is written at once.

    The options are those of `Options`. Nothing is sent before the first call. Every call raises `Refused` if the node
    refuses it, `Unavailable` if there is no answer in time, `NotTheNode`, or ValueError if it cannot be asked."""

    def __init__(self, address: str, **options: Any) -> None:
        self.options = Options(address, **options)
        self._bindings = Bindings(self.options.bindings_max)
        self._backoff = Backoff(self.options.backoff_min_s, self.options.backoff_max_s)
        self._why_away = ""
        self._connection: Optional[AioConnection] = None
        self._connecting: Optional[asyncio.Task[None]] = None
        self._draining: List[AioConnection] = []
        self._closed = False

    # Calls.

    async def authorize(self, **call: Unpack[NamedUsage]) -> Decision:
        """Decides without counting: credentials, referrer, states, limits as they would be with this usage."""
        return await self.call(Call(Operation.AUTHORIZE, **call))  # type: ignore[return-value]

    async def authrep(self, **call: Unpack[NamedUsage]) -> Decision:
        """Decides, and counts if the answer is yes: one step, exact under any concurrency."""
        return await self.call(Call(Operation.AUTHREP, **call))  # type: ignore[return-value]

    async def check(self, **call: Unpack[NamedUsage]) -> Decision:
        """Looks at limits alone; counts nothing."""
        return await self.call(Call(Operation.CHECK, **call))  # type: ignore[return-value]

    async def report(self, **call: Unpack[NamedUsage]) -> Receipt:
        """Counts what already happened, whatever limits, keys and states say."""
        return await self.call(Call(Operation.REPORT, **call))  # type: ignore[return-value]

    async def query(self, metrics: Sequence[str] = (), **call: Unpack[Named]) -> UsageReport:
        """Usage and limits of an application; of all metrics, or of those named."""
        return await self.call(Call(Operation.QUERY, metrics=tuple(metrics), **call))  # type: ignore[return-value]

    def reserve(self, ttl_s: int, **call: Unpack[NamedUsage]) -> AsyncReservation:
        """Holds usage until it is committed or cancelled, at most `ttl_s` seconds (1 to 3,600).

        To be awaited, or used with `async with`."""
        return AsyncReservation(self, Call(Operation.RESERVE, ttl_s=ttl_s, **call))

    async def call(self, call: Call) -> Answer:
        """Any call. While the node is away a decision is the policy's, if there is one."""
        try:
            return await self._run(lambda context: single(context, call), is_safe(call))
        except TollgateError as error:
            decision = decide(self.options.away, call.operation, error)
            if decision is None:
                raise
            return decision

    async def batch(
        self, calls: Sequence[Call], all: bool = False, durable: Optional[bool] = None
    ) -> List[Result]:
        """Many calls in few frames, in order. Returns an answer for each, or the error that stands for it.

        `all`: they are one step, all done or none, and fit one frame; ValueError if they do not. A call whose handle
        was stale, or that the node had no room for, is asked again after the others."""
        results: List[Optional[Result]] = [None] * len(calls)
        left: Sequence[int] = range(len(calls))
        deadline = self._deadline()
        while left:
            found = await self._try_batch([calls[at] for at in left], all, durable, deadline)
            for at, result in zip(left, found):
                results[at] = result
            again, wait = to_repeat(calls, results, left, all)
            if again and not await self._sleep(wait, deadline):
                break
            left = again
        return [decided(self.options.away, call, result) for call, result in zip(calls, results)]

    async def ping(self) -> Pong:
        """The node's time."""
        return await self._run(lambda it: alone(it, Message(Operation.PING)), True)

    async def stats(self) -> NodeStats:
        """Figures of the node; for clients with the node's secret."""
        return await self._run(lambda it: alone(it, Message(Operation.STATS)), True)

    def limited(self, on_denied: _limited.OnDenied = None, **named: Any) -> Callable[[_Function], _Function]:
        """A decorator for coroutine functions: the function is called if AUTHREP says yes. Otherwise
        `on_denied(decision)` is returned (awaited, if it can be), or `Denied` is raised.

        `named`: as for `authrep`; what is callable is called with the function's arguments."""
        _limited.check(named)

        def decorate(function: _Function) -> _Function:
            if not inspect.iscoroutinefunction(function):
                raise TypeError("only a coroutine function can wait for an AsyncClient")

            @functools.wraps(function)
            async def asked(*args: Any, **kwargs: Any) -> Any:
                decision = await self.call(_limited.authrep_of(named, args, kwargs))
                if decision:
                    return await function(*args, **kwargs)
                instead = _limited.denied(decision, on_denied)
                return await instead if inspect.isawaitable(instead) else instead

            return asked  # type: ignore[return-value]

        return decorate

    async def close(self) -> None:
        """Ends all connections; who waits for an answer gets `Unavailable`."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
        for connection in (self._connection, *self._draining):
            if connection is not None:
                connection.close()
        # The transports end in the loop's next turn.
        await asyncio.sleep(0)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.close()

    # How they are made.

    async def _run(
        self, plan: Callable[[Context], Plan[T]], safe: bool, deadline: Optional[float] = None
    ) -> T:
        """Carries a plan out, again if it failed in a way that allows that, until the time is over."""
        deadline = self._deadline() if deadline is None else deadline
        least = 0.0
        while True:
            try:
                return await self._carry_out(plan, await self._take(deadline), deadline)
            except (Refused, Unavailable) as error:
                wait = repeat_after_s(error, safe)
                if wait is None or not await self._sleep(max(wait, least), deadline):
                    raise
                # The first time at once, for a connection may have ended unnoticed.
                least = self.options.backoff_min_s

    async def _carry_out(
        self, plan: Callable[[Context], Plan[T]], connection: AioConnection, deadline: float
    ) -> T:
        welcome = connection.welcome
        steps = plan(Context(self.options, self._bindings, welcome.node, welcome.frame_max))
        try:
            messages = next(steps)
            while True:
                messages = steps.send(await connection.exchange(messages, deadline))
        except StopIteration as over:
            return over.value  # type: ignore[no-any-return]
        finally:
            steps.close()

    async def _try_batch(
        self, calls: List[Call], all: bool, durable: Optional[bool], deadline: float
    ) -> List[Result]:
        try:
            return await self._run(
                lambda context: batch(context, calls, all, durable), False, deadline
            )
        except (Refused, Unavailable) as error:
            if not is_away(error):
                raise
            return [error] * len(calls)

    async def _take(self, deadline: float) -> AioConnection:
        """The connection, or a new one: who comes meanwhile waits for the same."""
        while True:
            if self._closed:
                raise RuntimeError("the client is closed")
            connection = self._connection
            if connection is not None and not connection.leaving:
                return connection
            if connection is not None:
                self._connection = None
                # Kept until its answers are there.
                self._draining = [it for it in (*self._draining, connection) if not it.closed]
            wait = self._backoff.wait_s()
            if self._connecting is None and wait > 0:
                if not await self._sleep(wait, deadline):
                    raise Unavailable(f"waiting to connect again after: {self._why_away}")
                continue
            if self._connecting is None:
                self._connecting = asyncio.create_task(self._connect(self._deadline()))
                # Whoever waited may be gone when it fails.
                self._connecting.add_done_callback(lambda task: task.cancelled() or task.exception())
            left = deadline - time.monotonic()
            done, _ = await asyncio.wait({self._connecting}, timeout=max(left, 0))
            if not done:
                raise Unavailable(f"{self.options.address}: no connection in time")
            # Raises what went wrong, for all who waited.
            done.pop().result()

    async def _connect(self, deadline: float) -> None:
        try:
            self._connection = await AioConnection.connect(self.options, deadline)
            self._backoff.succeeded()
        except (Refused, NotTheNode, Unavailable) as error:
            self._backoff.failed()
            self._why_away = str(error)
            raise
        finally:
            self._connecting = None

    def _deadline(self) -> float:
        return time.monotonic() + self.options.timeout_s

    async def _sleep(self, seconds: float, deadline: float) -> bool:
        """False, and at once, if there is not so much time."""
        if time.monotonic() + seconds >= deadline:
            return False
        await asyncio.sleep(seconds)
        return True


class AsyncReservation(Held):
    """Usage that is held, once it was awaited. With `async with` it raises `Denied` if the answer was no, and cancels
    what was not committed when the block ends."""

    def __init__(self, client: AsyncClient, call: Call) -> None:
        super().__init__(call)
        self._client = client

    def __await__(self) -> Generator[Any, None, AsyncReservation]:
        return self._reserve().__await__()

    async def _reserve(self) -> AsyncReservation:
        if self._decision is None:
            self._decision = await self._client.call(self._call)  # type: ignore[assignment]
        return self

    async def commit(self, usage: Optional[Usage] = None) -> Receipt:
        """Counts what it really was, by default what was held. After an error it may be called again."""
        receipt = await self._client.call(self._commit_call(usage))
        self._settled = True
        return receipt  # type: ignore[return-value]

    async def cancel(self) -> Optional[Receipt]:
        """Releases what was held. None if nothing was."""
        call = self._cancel_call()
        self._settled = True
        return await self._client.call(call) if call else None  # type: ignore[return-value]

    async def __aenter__(self) -> AsyncReservation:
        await self._reserve()
        self._check()
        return self

    async def __aexit__(self, _: Any, error: Optional[BaseException], __: Any) -> None:
        if not self.open:
            return
        try:
            await self.cancel()
        except TollgateError:
            # It ends by itself; the block's own error says more, and without one nothing went wrong.
            pass
