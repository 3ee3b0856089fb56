"""What is sent and in which order, without a connection: generators.

A plan yields messages that go together, and is sent what came of each: the answer, or why there is none. What it
returns is the answer to the caller. So it is the same for `Client` and `AsyncClient`."""

from __future__ import annotations

from typing import Any, Dict, Generator, List, NamedTuple, Optional, Sequence, Tuple, TypeVar, Union

from .bindings import Binding, Bindings, Key, key_of
from .calls import Answer, durability, from_message, to_message
from .codec.layout import BatchPart
from .codec.message import Message, encode_item
from .codec.numbers import (
    ANSWERED_ITEM_SIZE_MAX,
    BATCH_OVERHEAD,
    Flag,
    Operation,
    Status,
    status_class,
)
from .errors import Refused, TollgateError, Unavailable
from .model import Call
from .options import Options

Outcome = Union[Message, Unavailable]
T = TypeVar("T")
Plan = Generator[Sequence[Message], Sequence[Outcome], T]

_BINDS_PER_FLIGHT = 64
"""BIND requests that go ahead of a batch; what it still goes by names is bound by the next."""


class Context(NamedTuple):
    """What a plan knows of the client and of the connection."""

    options: Options
    bindings: Bindings
    node: int
    frame_max: int

    def find(self, call: Call) -> Tuple[Optional[str], Optional[Key], Optional[Binding]]:
        """The service that a call names, under what its handle is kept, and the handle."""
        service = self.options.default_service if call.service is None else call.service
        key = key_of(call, service) if self.options.bind else None
        found = None if key is None else self.bindings.get(key, self.node, (*call.usage, *call.metrics))
        return service, key, found

    def bind(self, call: Call, key: Key) -> Optional[Message]:
        """Asks for a handle, unless somebody does."""
        return self.bindings.request(key, self.node, (*call.usage, *call.metrics))


def alone(context: Context, message: Message) -> Plan[Any]:
    """A request that names no application."""
    (outcome,) = yield (message,)
    return from_message(answered(outcome))


def single(context: Context, call: Call) -> Plan[Answer]:
    """One call. The first of an application goes by names, with BIND beside it; a stale handle likewise."""
    while True:
        service, key, binding = context.find(call)
        request = to_message(call, service, binding)
        bind = context.bind(call, key) if key is not None and binding is None else None
        if bind is None or key is None:
            (outcome,) = yield (request,)
        else:
            try:
                outcome, bound = yield (request, bind)
            except BaseException:
                context.bindings.learn(key, context.node, bind, None)
                raise
            context.bindings.learn(key, context.node, bind, bound if isinstance(bound, Message) else None)
        message = answered(outcome)
        if message.status == Status.STALE_HANDLE and key is not None and binding is not None:
            context.bindings.forget(key, binding.handle)
            continue
        return from_message(message)


def answered(outcome: Outcome) -> Message:
    """The answer. Raises why there is none."""
    if isinstance(outcome, Unavailable):
        raise outcome
    return outcome


class Item(NamedTuple):
    """A call of a batch, ready to be sent."""

    index: int  # type: ignore[assignment]
    message: Message
    size: int
    key: Optional[Key]
    binding: Optional[Binding]


Result = Union[Answer, TollgateError]


def batch(
    context: Context, calls: Sequence[Call], together: bool, durable: Optional[bool]
) -> Plan[List[Result]]:
    """Calls in as few frames as they fit, in order; `together`: all or none, in one frame.

    Returns an answer for each call, or the error that stands for it."""
    results: Dict[int, Result] = {}
    left: Sequence[int] = range(len(calls))
    while left:
        items, binds = _prepare(context, calls, left)
        frames = list(_cut(items, context.frame_max))
        if together and len(frames) > 1:
            raise ValueError(
                f"{len(calls)} calls do not fit a frame of {context.frame_max} bytes, and are to be one step"
            )
        flags = durability(durable) | (Flag.ALL if together else 0)
        messages = [_batch_message(frame, flags) for frame in frames]
        try:
            outcomes = yield [*binds.values(), *messages]
        except BaseException:
            _learn(context, binds, [])
            raise
        _learn(context, binds, outcomes)
        stale = False
        for frame, outcome in zip(frames, outcomes[len(binds) :]):
            stale |= _take(context, frame, outcome, results)
        if together and stale:
            results.clear()
        # What was stale goes again, by names. The rest is done.
        left = [index for index in range(len(calls)) if index not in results]
    return [results[index] for index in range(len(calls))]


def _prepare(
    context: Context, calls: Sequence[Call], left: Sequence[int]
) -> Tuple[List[Item], Dict[Key, Message]]:
    items: List[Item] = []
    binds: Dict[Key, Message] = {}
    for index in left:
        call = calls[index]
        if call.limits or call.durable is not None:
            raise ValueError(
                "limits and durable are not for a call of a batch; durable is for the whole batch"
            )
        service, key, binding = context.find(call)
        if key is not None and binding is None and key not in binds and len(binds) < _BINDS_PER_FLIGHT:
            bind = context.bind(call, key)
            if bind is not None:
                binds[key] = bind
        message = to_message(call, service, binding, item=True)
        items.append(Item(index, message, len(encode_item(message)), key, binding))
    return items, binds


def _cut(items: Sequence[Item], frame_max: int) -> Generator[List[Item], None, None]:
    """What fits a frame each, in the request and in the answer."""
    count_max = (frame_max - BATCH_OVERHEAD) // ANSWERED_ITEM_SIZE_MAX
    frame: List[Item] = []
    size = BATCH_OVERHEAD
    for item in items:
        if BATCH_OVERHEAD + item.size > frame_max:
            raise ValueError(f"call {item.index} of the batch does not fit a frame of {frame_max} bytes")
        if size + item.size > frame_max or len(frame) == count_max:
            yield frame
            frame, size = [], BATCH_OVERHEAD
        frame.append(item)
        size += item.size
    yield frame


def _batch_message(frame: Sequence[Item], flags: int) -> Message:
    messages = tuple(item.message for item in frame)
    return Message(Operation.BATCH, flags=flags, fixed=BatchPart(len(messages)), items=messages)


def _learn(context: Context, binds: Dict[Key, Message], outcomes: Sequence[Outcome]) -> None:
    for at, (key, bind) in enumerate(binds.items()):
        bound = outcomes[at] if at < len(outcomes) else None
        context.bindings.learn(key, context.node, bind, bound if isinstance(bound, Message) else None)


def _take(context: Context, frame: Sequence[Item], outcome: Outcome, results: Dict[int, Result]) -> bool:
    """Puts a frame's answers where they belong. True if some handle was stale, and its call has no result yet."""
    if isinstance(outcome, Unavailable) or status_class(outcome.status):
        why = outcome if isinstance(outcome, Unavailable) else _answer(outcome)
        results.update((item.index, why) for item in frame)
        return False
    if len(outcome.items) != len(frame):
        raise Unavailable("a batch of another size was answered", sent=True)
    stale = False
    for item, answer in zip(frame, outcome.items):
        if answer.status == Status.STALE_HANDLE and item.key is not None and item.binding is not None:
            context.bindings.forget(item.key, item.binding.handle)
            stale = True
        else:
            results[item.index] = _answer(answer)
    return stale


def _answer(message: Message) -> Result:
    try:
        return from_message(message)
    except Refused as refused:
        return refused
