"""What is decided while the node is away, and what of a batch is asked again."""

from __future__ import annotations

from typing import Any, List, Optional, Sequence, Tuple

from .codec.numbers import DECIDED
from .errors import SAFE_TO_REPEAT, TollgateError, is_away, repeat_after_s
from .model import Call, Decision, has_id


def is_safe(call: Call) -> bool:
    """Whether a call may be sent again though it may have been counted."""
    return call.operation in SAFE_TO_REPEAT or has_id(call)


def decide(away: str, operation: int, error: TollgateError) -> Optional[Decision]:
    """The policy's decision in place of an answer; None if the error is to be raised.

    Only what is answered with a decision can be decided here: a report that is not counted is an error always."""
    if away == "raise" or operation not in DECIDED or not is_away(error):
        return None
    return Decision(away == "allow", remaining=0 if away == "deny" else None, away=True)


def decided(away: str, call: Call, result: Any) -> Any:
    """A result of a batch, or the policy's in its place."""
    if not isinstance(result, TollgateError):
        return result
    decision = decide(away, call.operation, result)
    return result if decision is None else decision


def to_repeat(
    calls: Sequence[Call], results: Sequence[Any], asked: Sequence[int], together: bool
) -> Tuple[List[int], float]:
    """Which calls of those asked go again, and after how many seconds. What is one step goes as a whole or not."""
    again: List[int] = []
    wait_s = 0.0
    for at in asked:
        result = results[at]
        wait = repeat_after_s(result, is_safe(calls[at])) if isinstance(result, TollgateError) else None
        if wait is not None:
            again.append(at)
            wait_s = max(wait_s, wait)
    if together and len(again) < len(asked):
        return [], 0.0
    return again, wait_s
