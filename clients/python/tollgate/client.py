"""The synchronous client."""

from __future__ import annotations

import functools
import inspect
import time
from contextlib import contextmanager
from threading import Condition
from typing import TYPE_CHECKING, Any, Callable, Iterator, List, Optional, Sequence, TypeVar

from . import limited as _limited
from .backoff import Backoff
from .bindings import Bindings
from .calls import Answer
from .codec.message import Message
from .codec.numbers import Operation
from .connection import Connection
from .errors import NotTheNode, Refused, TollgateError, Unavailable, is_away, repeat_after_s
from .model import Call, Decision, NodeStats, Pong, Receipt, Usage, UsageReport
from .options import Options
from .plans import Context, Plan, Result, T, alone, batch, single
from .policy import decide, decided, is_safe, to_repeat
from .reservation import Held

if TYPE_CHECKING:
    from .named import Named, NamedUsage, Unpack

_Function = TypeVar("_Function", bound=Callable[..., Any])


class Client:
    """Talks to a node. May be used by several threads; each call has a connection to itself while it lasts.

    The options are those of `Options`. Nothing is sent before the first call. Every call raises `Refused` if the node
    refuses it, `Unavailable` if there is no answer in time, `NotTheNode`, or ValueError if it cannot be asked."""

    def __init__(self, address: str, **options: Any) -> None:
        self.options = Options(address, **options)
        self._bindings = Bindings(self.options.bindings_max)
        self._backoff = Backoff(self.options.backoff_min_s, self.options.backoff_max_s)
        self._why_away = ""
        self._idle: List[Connection] = []
        self._busy = 0
        self._changed = Condition()
        self._closed = False

    # Calls.

    def authorize(self, **call: Unpack[NamedUsage]) -> Decision:
        """Decides without counting: credentials, referrer, states, limits as they would be with this usage."""
        return self.call(Call(Operation.AUTHORIZE, **call))  # type: ignore[return-value]

    def authrep(self, **call: Unpack[NamedUsage]) -> Decision:
        """Decides, and counts if the answer is yes: one step, exact under any concurrency."""
        return self.call(Call(Operation.AUTHREP, **call))  # type: ignore[return-value]

    def check(self, **call: Unpack[NamedUsage]) -> Decision:
        """Looks at limits alone; counts nothing."""
        return self.call(Call(Operation.CHECK, **call))  # type: ignore[return-value]

    def report(self, **call: Unpack[NamedUsage]) -> Receipt:
        """Counts what already happened, whatever limits, keys and states say."""
        return self.call(Call(Operation.REPORT, **call))  # type: ignore[return-value]

    def query(self, metrics: Sequence[str] = (), **call: Unpack[Named]) -> UsageReport:
        """Usage and limits of an application; of all metrics, or of those named."""
        return self.call(Call(Operation.QUERY, metrics=tuple(metrics), **call))  # type: ignore[return-value]

    def reserve(self, ttl_s: int, **call: Unpack[NamedUsage]) -> Reservation:
        """Holds usage until it is committed or cancelled, at most `ttl_s` seconds (1 to 3,600)."""
        return Reservation(self, Call(Operation.RESERVE, ttl_s=ttl_s, **call))

    def call(self, call: Call) -> Answer:
        """Any call. While the node is away a decision is the policy's, if there is one."""
        try:
            return self._run(lambda context: single(context, call), is_safe(call))
        except TollgateError as error:
            decision = decide(self.options.away, call.operation, error)
            if decision is None:
                raise
            return decision

    def batch(self, calls: Sequence[Call], all: bool = False, durable: Optional[bool] = None) -> List[Result]:
        """Many calls in few frames, in order. Returns an answer for each, or the error that stands for it.

        `all`: they are one step, all done or none, and fit one frame; ValueError if they do not. A call whose handle
        was stale, or that the node had no room for, is asked again after the others."""
        results: List[Optional[Result]] = [None] * len(calls)
        left: Sequence[int] = range(len(calls))
        deadline = self._deadline()
        while left:
            found = self._try_batch([calls[at] for at in left], all, durable, deadline)
            for at, result in zip(left, found):
                results[at] = result
            again, wait = to_repeat(calls, results, left, all)
            if again and not self._sleep(wait, deadline):
                break
            left = again
        return [decided(self.options.away, call, result) for call, result in zip(calls, results)]

    def ping(self) -> Pong:
        """The node's time."""
        return self._run(lambda it: alone(it, Message(Operation.PING)), True)  # type: ignore[no-any-return]

    def stats(self) -> NodeStats:
        """Figures of the node; for clients with the node's secret."""
        return self._run(lambda it: alone(it, Message(Operation.STATS)), True)  # type: ignore[no-any-return]

    def limited(self, on_denied: _limited.OnDenied = None, **named: Any) -> Callable[[_Function], _Function]:
        """A decorator: the function is called if AUTHREP says yes. Otherwise `on_denied(decision)` is returned, or
        `Denied` is raised.

        `named`: as for `authrep`; what is callable is called with the function's arguments."""

        _limited.check(named)

        def decorate(function: _Function) -> _Function:
            if inspect.iscoroutinefunction(function):
                raise TypeError("a coroutine function needs an AsyncClient")

            @functools.wraps(function)
            def asked(*args: Any, **kwargs: Any) -> Any:
                decision = self.call(_limited.authrep_of(named, args, kwargs))
                if decision:
                    return function(*args, **kwargs)
                return _limited.denied(decision, on_denied)

            return asked  # type: ignore[return-value]

        return decorate

    def close(self) -> None:
        """Ends all connections; calls that are on their way end as they can."""
        with self._changed:
            self._closed = True
            idle, self._idle = self._idle, []
            self._changed.notify_all()
        for connection in idle:
            connection.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    # How they are made.

    def _run(self, plan: Callable[[Context], Plan[T]], safe: bool, deadline: Optional[float] = None) -> T:
        """Carries a plan out, again if it failed in a way that allows that, until the time is over."""
        deadline = self._deadline() if deadline is None else deadline
        least = 0.0
        while True:
            try:
                with self._connection(deadline) as connection:
                    return self._carry_out(plan, connection, deadline)
            except (Refused, Unavailable) as error:
                wait = repeat_after_s(error, safe)
                if wait is None or not self._sleep(max(wait, least), deadline):
                    raise
                # The first time at once, for a connection may have ended unnoticed.
                least = self.options.backoff_min_s

    def _carry_out(self, plan: Callable[[Context], Plan[T]], connection: Connection, deadline: float) -> T:
        welcome = connection.welcome
        steps = plan(Context(self.options, self._bindings, welcome.node, welcome.frame_max))
        try:
            messages = next(steps)
            while True:
                messages = steps.send(connection.exchange(messages, deadline))
        except StopIteration as over:
            return over.value  # type: ignore[no-any-return]
        finally:
            steps.close()

    def _try_batch(
        self, calls: List[Call], all: bool, durable: Optional[bool], deadline: float
    ) -> List[Result]:
        try:
            return self._run(lambda context: batch(context, calls, all, durable), False, deadline)
        except (Refused, Unavailable) as error:
            if not is_away(error):
                raise
            return [error] * len(calls)

    @contextmanager
    def _connection(self, deadline: float) -> Iterator[Connection]:
        connection = self._take(deadline)
        try:
            yield connection
        finally:
            with self._changed:
                self._busy -= 1
                keep = not connection.leaving and not self._closed
                if keep:
                    self._idle.append(connection)
                self._changed.notify()
            if not keep:
                connection.close()

    def _take(self, deadline: float) -> Connection:
        """A connection that was idle and is fine, or a new one."""
        with self._changed:
            while self._busy >= self.options.connections and not self._closed:
                if not self._changed.wait(deadline - time.monotonic()):
                    raise Unavailable("all connections are busy")
            if self._closed:
                raise RuntimeError("the client is closed")
            self._busy += 1
            connection = self._idle.pop() if self._idle else None
        try:
            while connection is not None and not connection.usable():
                connection.close()
                with self._changed:
                    connection = self._idle.pop() if self._idle else None
            return connection or self._connect(deadline)
        except BaseException:
            with self._changed:
                self._busy -= 1
                self._changed.notify()
            raise

    def _connect(self, deadline: float) -> Connection:
        wait = self._backoff.wait_s()
        if wait > 0 and not self._sleep(wait, deadline):
            raise Unavailable(f"waiting to connect again after: {self._why_away}")
        try:
            connection = Connection(self.options, deadline)
        except (Refused, NotTheNode, Unavailable) as error:
            self._backoff.failed()
            self._why_away = str(error)
            raise
        self._backoff.succeeded()
        return connection

    def _deadline(self) -> float:
        return time.monotonic() + self.options.timeout_s

    def _sleep(self, seconds: float, deadline: float) -> bool:
        """False, and at once, if there is not so much time."""
        if time.monotonic() + seconds >= deadline:
            return False
        time.sleep(seconds)
        return True


class Reservation(Held):
    """Usage that is held. As a context manager it raises `Denied` if the answer was no, and cancels what was not
    committed when the block ends."""

    def __init__(self, client: Client, call: Call) -> None:
        super().__init__(call)
        self._client = client
        self._decision = client.call(call)  # type: ignore[assignment]

    def commit(self, usage: Optional[Usage] = None) -> Receipt:
        """Counts what it really was, by default what was held. After an error it may be called again."""
        receipt = self._client.call(self._commit_call(usage))
        self._settled = True
        return receipt  # type: ignore[return-value]

    def cancel(self) -> Optional[Receipt]:
        """Releases what was held. None if nothing was."""
        call = self._cancel_call()
        self._settled = True
        return self._client.call(call) if call else None  # type: ignore[return-value]

    def __enter__(self) -> Reservation:
        self._check()
        return self

    def __exit__(self, _: Any, error: Optional[BaseException], __: Any) -> None:
        if not self.open:
            return
        try:
            self.cancel()
        except TollgateError:
            # It ends by itself; the block's own error says more, and without one nothing went wrong.
            pass
