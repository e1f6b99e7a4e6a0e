"""The kill rig with the portal door: its processes trade there, and the exchange's own books are the witness."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from moondev_ibkr.brokers.interactive_brokers.ib_adapter import IBAdapter

from .kill_rig import CLIENT_ID, KillRig, Standing, Truth
from .portal_kill_driver import make_portal_adapter
from .portal_kill_pair import make_pair_adapter

#: Asked of every order unless suppressed, both on the client's list of those that it confirms.
QUESTIONS = "o10151,o10153"
#: No pacing, and presets of the account that are wide enough for these stories.
PORTAL_OPTIONS = (
    *("--portal-port", "0", "--portal", "requests_per_second=0", "--portal", f"questions={QUESTIONS}"),
    *("--portal", "size_limit=1000000", "--portal", "value_limit=1000000000", "--portal", "price_percent=50"),
)
#: What a child is called at the exchange: the portal's children carry no reference -> what follows the entry's key.
CHILDREN = {"STP": "-1", "LMT": "-2"}
ENDED = frozenset({"Filled", "Cancelled", "Inactive"})


def truth_in(books: dict[str, Any], root: str) -> dict[str, Truth]:
    """Every key that begins with `root`, as the exchange's books have it."""
    roots = {row["perm_id"]: row["order_ref"] for row in books["orders"] if row["order_ref"].startswith(root)}
    found: dict[str, Truth] = {}
    by_perm_id: dict[int, Truth] = {}
    for row in books["orders"]:
        key = row["order_ref"]
        if not key and row["parent_perm_id"] in roots:
            key = roots[row["parent_perm_id"]] + CHILDREN[row["type"]]
        if not key.startswith(root):
            continue
        truth = by_perm_id[row["perm_id"]] = found.setdefault(key, Truth(key))
        truth.perm_ids.add(row["perm_id"])
        if row["status"] in ENDED:
            truth.status = row["status"]
        else:
            limit = None if row["limit_price"] is None else Decimal(row["limit_price"])
            truth.open = Standing(row["stop_price"] is not None, Decimal(row["quantity"]), limit)
    for row in books["executions"]:
        owner = by_perm_id.get(row["perm_id"])
        if owner is not None:
            owner.executions[row["exec_id"]] = Decimal(row["quantity"])
    return found


class PortalKillRig(KillRig):
    driver = "tests.scenarios.portal_kill_driver"
    options = PORTAL_OPTIONS

    def where(self) -> dict[str, Any]:
        ready = self.gateway.where
        return {"url": ready.portal_url, "ca_file": str(ready.ca_file)}

    def make(self, journal: str) -> IBAdapter:
        return make_portal_adapter(**self.where(), journal=journal, client_id=CLIENT_ID)

    async def truth(self, root: str) -> dict[str, Truth]:
        return truth_in(await self.gateway.tell({"books": True}), root)


class PairKillRig(PortalKillRig):
    """Processes over both doors, with two user names."""

    driver = "tests.scenarios.portal_kill_pair"
    users = "two"

    def where(self) -> dict[str, Any]:
        return {**super().where(), "port": self.port}

    def make(self, journal: str) -> IBAdapter:
        return make_pair_adapter({**self.where(), "journal": journal, "client_id": CLIENT_ID, "users": self.users})


class OneUserKillRig(PairKillRig):
    """One user name for both doors: whoever takes the brokerage session kicks the other."""

    options = (*PORTAL_OPTIONS, "--portal-user", "me", "--tws-user", "me")
    users = "one"

    async def clear(self) -> None:
        await self.gateway.tell({"reclaim": True})
        await super().clear()
