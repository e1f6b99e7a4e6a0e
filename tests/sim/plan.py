"""What one seed decides about an episode before it begins."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random

from moondev_ibkr.brokers.simulation.portal.settings import OrderIds, Registry, SorFrames, Visibility


class Doors(StrEnum):
    """Through which doors the processes trade."""

    TWS = "tws"
    PORTAL = "portal"
    ONE_USER = "one_user"  #: both, with one user name: a take-over
    TWO_USERS = "two_users"  #: both, with two: a hot standby


@dataclass(frozen=True, slots=True)
class Plan:
    """`rate`: chance of a message to draw a fault; `kill_rate`: of a process to die at a step; `pace`: mean seconds
    between two actions of an agent; `seconds` of trading before the healing. `paced`: the portal client keeps IB's
    limits. The rest are the open questions that the portal door plays both ways."""

    processes: int
    rate: float
    kill_rate: float
    pace: float
    seconds: float
    doors: Doors = Doors.TWS
    paced: bool = False
    visibility: Visibility = Visibility.FULL
    registry: Registry = Registry.DAY
    order_ids: OrderIds = OrderIds.OWN
    sor_frames: SorFrames = SorFrames.PARTIAL
    reclaim: float | None = None

    @classmethod
    def drawn(cls, random: Random, doors: Doors | None = None) -> Plan:
        plan = cls(
            processes=random.choice((1, 1, 2)),
            rate=random.choice((0.02, 0.05, 0.1, 0.2)),
            kill_rate=random.choice((0.0, 0.002, 0.01)),
            pace=random.choice((0.3, 1.0, 3.0)),
            seconds=random.choice((60.0, 120.0)),
            doors=_one_of(random, doors),
            paced=random.random() < 0.5,
            visibility=random.choice(tuple(Visibility)),
            registry=random.choice(tuple(Registry)),
            order_ids=random.choice(tuple(OrderIds)),
            sor_frames=random.choice(tuple(SorFrames)),
            reclaim=random.choice((None, None, 30.0)),
        )
        if plan.doors is Doors.TWS:
            return replace(plan, paced=False)
        return replace(plan, pace=max(plan.pace, 3.0)) if plan.paced else plan


def _one_of(random: Random, doors: Doors | None) -> Doors:
    drawn = random.choices(tuple(Doors), (40, 20, 20, 20))[0]
    return doors or drawn
