"""Handles that a node gave for applications and their metrics."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Dict, Iterable, NamedTuple, Optional, Tuple

from .codec.layout import Nothing
from .codec.message import Message
from .codec.numbers import Operation, Tag, status_class
from .model import Call

Key = Tuple[Optional[str], ...]
"""Service and credentials of an application."""


class Binding(NamedTuple):
    """A handle, on which node it is good, and the metric numbers that are known."""

    node: int
    handle: int
    metrics: Dict[str, int]


def key_of(call: Call, service: Optional[str]) -> Optional[Key]:
    """Under what a call's handle is kept; None if the call must go by names."""
    named = call.user_key is not None or call.app_id is not None
    by_names = call.oauth or call.redirect_uri is not None or call.redirect_url is not None
    return (service, call.user_key, call.app_id, call.app_key) if named and not by_names else None


def credentials(key: Key) -> Tuple[Tuple[int, str], ...]:
    """The fields that name an application."""
    tags = (Tag.SERVICE, Tag.USER_KEY, Tag.APP_ID, Tag.APP_KEY)
    return tuple((tag, value) for tag, value in zip(tags, key) if value is not None)


class Bindings:
    """What is bound now. May be used by several threads."""

    def __init__(self, size_max: int) -> None:
        self._size_max = size_max
        self._known: OrderedDict[Key, Binding] = OrderedDict()
        self._lock = Lock()
        self._asked: Dict[Key, int] = {}

    def get(self, key: Key, node: int, names: Iterable[str]) -> Optional[Binding]:
        """The binding with which a call can be made on this node."""
        found = self._known.get(key)
        if found is None or found.node != node or any(name not in found.metrics for name in names):
            return None
        return found

    def request(self, key: Key, node: int, names: Iterable[str]) -> Optional[Message]:
        """Asks for a handle and the numbers of these metrics and of those known; None if somebody does already."""
        with self._lock:
            if self._asked.get(key) == node:
                return None
            self._asked[key] = node
            found = self._known.get(key)
        wanted = dict.fromkeys(names)
        if found is not None and found.node == node:
            wanted.update(dict.fromkeys(found.metrics))
        fields = (*credentials(key), *((Tag.METRIC, name) for name in wanted))
        return Message(Operation.BIND, fixed=Nothing(), fields=fields)

    def learn(self, key: Key, node: int, request: Message, answer: Optional[Message]) -> None:
        """Keeps what was answered to `request`; after no answer it stays as it was."""
        with self._lock:
            self._asked.pop(key, None)
            if answer is None:
                return
            if status_class(answer.status) or not answer.fixed.bound:
                # A metric that was known may be gone: what is asked for next is not to include it.
                self._known.pop(key, None)
                return
            names = [value for tag, value in request.fields if tag == Tag.METRIC]
            metrics = {str(name): row.metric for name, row in zip(names, answer.rows)}
            self._known.pop(key, None)
            self._known[key] = Binding(node, answer.fixed.handle, metrics)
            if len(self._known) > self._size_max:
                self._known.popitem(last=False)

    def forget(self, key: Key, handle: int) -> None:
        """The handle is stale. If somebody bound again already, that stays."""
        with self._lock:
            found = self._known.get(key)
            if found is not None and found.handle == handle:
                del self._known[key]
