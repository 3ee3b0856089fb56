"""The same test for both clients: `AsyncClient` seen as if it were synchronous."""

from __future__ import annotations

import asyncio
import inspect
import threading
from typing import Any

from tollgate import AsyncClient, Client


class Loop:
    """A running event loop in a thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def run(self, awaitable: Any) -> Any:
        async def waited() -> Any:
            return await awaitable

        return asyncio.run_coroutine_threadsafe(waited(), self._loop).result(30)

    def call(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        """Calls a function in the loop, and waits for what it returns if that can be awaited."""

        async def called() -> Any:
            found = function(*args, **kwargs)
            return await found if inspect.isawaitable(found) else found

        return self.run(called())

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Blocking:
    """An object of the asynchronous client whose methods wait."""

    def __init__(self, loop: Loop, inner: Any) -> None:
        self._own, self._inner = loop, inner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return (
            (lambda *args, **kwargs: self._wrap(self._own.call(found, *args, **kwargs)))
            if callable(found)
            else found
        )

    def __bool__(self) -> bool:
        return bool(self._inner)

    def __enter__(self) -> Any:
        self._own.call(self._inner.__aenter__)
        return self

    def __exit__(self, *error: Any) -> None:
        self._own.call(self._inner.__aexit__, *error)

    def _wrap(self, found: Any) -> Any:
        return Blocking(self._own, found) if hasattr(found, "__aenter__") else found


class BothClients:
    """Mixin of test cases: `self.client(...)` makes the client that a subclass is for."""

    asynchronous = False

    def client(self, address: str, **options: Any) -> Any:
        if not self.asynchronous:
            client = Client(address, **options)
            self.addCleanup(client.close)
            return client
        loop = Loop()
        self.addCleanup(loop.stop)
        client = Blocking(loop, loop.call(AsyncClient, address, **options))
        self.addCleanup(client.close)
        return client


def both(case: type) -> type:
    """Adds the same test case for `AsyncClient` to the case's module."""
    import sys

    name = f"Async{case.__name__}"
    made = type(name, (case,), {"asynchronous": True, "__module__": case.__module__})
    setattr(sys.modules[case.__module__], name, made)
    return case
