"""Functions that are called only if the node says yes."""

from __future__ import annotations

from typing import Any, Callable, Dict, Mapping, Optional, Tuple

from .codec.numbers import Operation
from .errors import Denied
from .model import Call, Decision

OnDenied = Optional[Callable[[Decision], Any]]


def check(named: Mapping[str, Any]) -> None:
    """Raises TypeError for a name that a call does not have: now, not when the function is called."""
    Call(Operation.AUTHREP, **named)


def authrep_of(named: Mapping[str, Any], args: Tuple[Any, ...], kwargs: Dict[str, Any]) -> Call:
    """The AUTHREP for a call of a function: what is callable is asked with the function's arguments."""
    known = {name: value(*args, **kwargs) if callable(value) else value for name, value in named.items()}
    return Call(Operation.AUTHREP, **known)


def denied(decision: Decision, on_denied: OnDenied) -> Any:
    """What a function that is not called returns. Raises `Denied` if nobody says."""
    if on_denied is None:
        raise Denied(decision)
    return on_denied(decision)
