"""What can be chosen about a change of doors, and how both stand."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

from .ib_door_health import Note
from .ib_order_relay import Sight
from .ib_transport import LinkState


class Users(StrEnum):
    """Whether both doors log in with one user name (a take-over) or with two (a hot standby)."""

    ONE = "one_user"
    TWO = "two_users"


@dataclass(frozen=True, slots=True)
class FailoverPolicy:
    """Monotonic seconds. `take_over_after`: how long the live door may be lost before orders go through the other.
    `data_back_after`: how long the first door must stand before data comes back to it. `retry_every` spaces attempts
    to hand over and to connect a standby; `lease_every` the looks at a lease that other processes may have switched.
    `compete`: take the brokerage session of one user by force when it is not given up (compete=true)."""

    users: Users = Users.TWO
    take_over_after: float = 10.0
    data_back_after: float = 30.0
    retry_every: float = 5.0
    lease_every: float = 1.0
    compete: bool = True


@runtime_checkable
class Takeable(Protocol):
    """A door whose brokerage session can be taken from whoever holds it."""

    async def is_reachable(self) -> bool:
        """Whether it answers and is logged in, whoever holds the brokerage session; takes nothing."""
        ...

    async def connect_by_force(self) -> None:
        """As `connect`, and take the brokerage session from whoever holds it. Raises ConnectFailed."""
        ...


@dataclass(frozen=True, slots=True)
class DoorStatus:
    """One door as it stands. `has_pen`: orders go through it; `has_data`: market data comes through it."""

    name: str
    state: LinkState
    has_pen: bool
    has_data: bool
    notes: tuple[Note, ...]


@dataclass(frozen=True, slots=True)
class FailoverStatus:
    """`epoch` of the lease; `hands_over`: the pen is changing hands now, and nothing is written."""

    doors: tuple[DoorStatus, ...]
    pen: str
    epoch: int
    hands_over: bool
    sight: Sight
