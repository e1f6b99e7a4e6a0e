"""What a route and a topic are. The tables themselves are assembled in `handlers` and `topics`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .request import Answer, PortalRequest

if TYPE_CHECKING:
    from .session import PortalSession
    from .stream import Stream

Handler = Callable[["PortalSession", PortalRequest], Answer]


class Tier(IntEnum):
    """What must be there before a route answers (client-portal.md section 1)."""

    OPEN = 0  #: nothing
    LOGIN = 1  #: the outer SSO session, else 401
    PORTFOLIO = 2  #: and /portfolio/accounts asked for once
    BROKERAGE = 3  #: the brokerage session, else 400 "no bridge"
    ACCOUNTS = 4  #: and /iserver/accounts asked for once, else "Please query /accounts first"


@dataclass(frozen=True)
class Route:
    """`path` is a template below BASE: "/iserver/account/{account}/orders". `pace` names its row of `pacing.LIMITS`
    ("" only the global limit)."""

    methods: Sequence[str]
    path: str
    handler: Handler
    tier: Tier
    about: str
    pace: str = ""

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.path) + r"\Z")


@dataclass(frozen=True)
class Topic:
    """One word of the WebSocket: `subscribe` gets the stream, the words after the first "+", and the JSON object.

    "smd+265598+{...}" calls subscribe(stream, ["265598"], {...}). `unsubscribe` likewise for `end` ("umd").
    """

    name: str
    end: str
    subscribe: Callable[[Stream, Sequence[str], dict[str, Any]], None]
    unsubscribe: Callable[[Stream, Sequence[str], dict[str, Any]], None]
    needs_brokerage: bool
    about: str
    #: Other words that mean the same.
    also: Sequence[str] = field(default=())
