"""When to try again to connect."""

from __future__ import annotations

import random
import time


class Backoff:
    """Waits longer with each failure in a row, by chance a little less, so that clients do not come all at once."""

    def __init__(self, min_s: float, max_s: float) -> None:
        self._min_s, self._max_s = min_s, max_s
        self._next_s = min_s
        self._not_before = 0.0

    def failed(self) -> None:
        """An attempt failed just now."""
        self._not_before = time.monotonic() + self._next_s * random.uniform(0.5, 1.0)
        self._next_s = min(self._next_s * 2, self._max_s)

    def succeeded(self) -> None:
        """There is a connection."""
        self._next_s, self._not_before = self._min_s, 0.0

    def wait_s(self) -> float:
        """Seconds until the next attempt is due; 0 or less if it is."""
        return self._not_before - time.monotonic()
