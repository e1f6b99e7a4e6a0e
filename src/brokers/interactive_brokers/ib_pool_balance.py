"""Which member of a pool is next: the least loaded, or each in turn."""

from __future__ import annotations

from collections.abc import Iterable

from ...config.gateways import Balance
from .ib_pool_member import PoolMember


class Balancer:
    """Orders members by who should get the next piece of work.

    Both ways keep to the weights: twice the weight gets twice the work. Among equally loaded members the one that has
    been asked least for its weight comes first, so that questions one at a time do not all go to the same one.
    """

    def __init__(self, balance: Balance) -> None:
        self._balance = balance
        #: Turns owed to each member (the smooth weighted round robin of load balancers).
        self._credit: dict[str, float] = {}

    def ranked(self, members: Iterable[PoolMember]) -> list[PoolMember]:
        """Best first."""
        present = list(members)
        if self._balance is Balance.LEAST_LOADED:
            return sorted(present, key=lambda member: (member.load, member.requests / member.terms.weight))
        return self._in_turn(present)

    def _in_turn(self, present: list[PoolMember]) -> list[PoolMember]:
        if not present:
            return []
        for member in present:
            self._credit[member.name] = self._credit.get(member.name, 0.0) + member.terms.weight
        order = sorted(present, key=lambda member: -self._credit[member.name])
        self._credit[order[0].name] -= sum(member.terms.weight for member in present)
        return order
