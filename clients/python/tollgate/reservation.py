"""Costs that are known only afterwards: held first, counted when they are known."""

from __future__ import annotations

from dataclasses import replace
from typing import Optional

from .codec.numbers import Operation
from .errors import Denied
from .model import Call, Decision, Usage


class Held:
    """What `Reservation` and `AsyncReservation` have in common. True in a condition if the answer was yes."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._decision: Optional[Decision] = None
        self._settled = False
        self._committing = False

    @property
    def decision(self) -> Decision:
        """What RESERVE answered. Raises RuntimeError before it did."""
        if self._decision is None:
            raise RuntimeError("nothing was reserved yet")
        return self._decision

    def __bool__(self) -> bool:
        return bool(self.decision)

    @property
    def open(self) -> bool:
        """Neither committed nor cancelled, nor is that being tried."""
        return self.decision.yes and not self._settled and not self._committing

    def _check(self) -> None:
        """Raises `Denied` unless the answer was yes."""
        if not self.decision:
            raise Denied(self.decision)

    def _commit_call(self, usage: Optional[Usage]) -> Call:
        """Counts `usage`, by default what was held. A yes that held nothing, a policy's say, is reported."""
        self._check_open()
        self._committing = True
        call = replace(self._call, usage=self._call.usage if usage is None else usage, ttl_s=0, limits=False)
        if not self.decision.reservation:
            return replace(call, operation=Operation.REPORT)
        return replace(call, operation=Operation.COMMIT, reservation=self.decision.reservation)

    def _cancel_call(self) -> Optional[Call]:
        """None if nothing is held."""
        self._check_open()
        if not self.decision.reservation:
            return None
        held, nothing = self.decision.reservation, Call(Operation.CANCEL).usage
        call = replace(self._call, usage=nothing, ttl_s=0, limits=False, flat=False)
        return replace(call, operation=Operation.CANCEL, reservation=held)

    def _check_open(self) -> None:
        self._check()
        if self._settled:
            raise RuntimeError("committed or cancelled before")
