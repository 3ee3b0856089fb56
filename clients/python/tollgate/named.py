"""The names that calls take, for type checkers; nothing imports this at run time. `Call` says what they mean."""

from __future__ import annotations

from typing import Optional, TypedDict, Union

from typing_extensions import Unpack

from .model import Usage

__all__ = ["Named", "NamedUsage", "Unpack"]


class Named(TypedDict, total=False):
    """An application."""

    user_key: Optional[str]
    app_id: Optional[str]
    app_key: Optional[str]
    service: Optional[str]


class NamedUsage(Named, total=False):
    """A call of an application."""

    usage: Usage
    referrer: Optional[str]
    redirect_uri: Optional[str]
    redirect_url: Optional[str]
    timestamp: Optional[int]
    log_code: Optional[Union[int, str]]
    id: Optional[Union[str, bytes]]
    flat: bool
    limits: bool
    oauth: bool
    durable: Optional[bool]
