"""Promise Q18 at a hand-over: a process is killed at every step of it, and its successor follows the lease and knows.

The first order went through TWS, the second one goes through the portal. Wherever the process dies, the successor
writes through the door that the journal's lease names, each order is at the exchange once or not at all, the journal
says which, and the same keys again make no second order.
"""

from __future__ import annotations

import os
import signal
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.interactive_brokers.ib_transport import LinkState

from .kill_driver import until
from .kill_rig import cuts, kill_rig, known, rows, until_settled
from .portal_kill_pair import STORIES, first_order, second_order
from .portal_kill_rig import OneUserKillRig, PairKillRig

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="SIGKILL and fork are POSIX"),
]

_TOLD = ("hand fence", "hand open", "journal switch_door", "hand told")
_READ = (
    *("heard orders", "heard trades"),
    *("read open_orders", "read completed_orders", "read executions", "read positions"),
)
_SECOND = (
    "journal record_intents",
    *("wire orders 1", "heard answer orders 1", "heard sor PreSubmitted", "heard sor Submitted"),
    "journal write resting WORKING",
)
_RECOVERED = (
    "journal write entry UNKNOWN",
    "journal write entry FILLED",
    "journal write entry FILL",
    "journal write COMMISSION",
)
#: Story -> its steps from the moment at which TWS is lost, or the command is given.
STEPS: dict[str, tuple[str, ...]] = {
    "lost two": (*_TOLD, *_READ, *_RECOVERED, *_SECOND),
    "told two": (*_TOLD, *_READ, *_SECOND),
    "lost one": (*_TOLD, *_READ, *_RECOVERED, *_SECOND),
    "told one": (*_TOLD, *_READ, *_SECOND),
}
#: Steps that come or not: two doors and two connections tell of the same things, in any order.
EITHER = frozenset(
    {
        "heard sor PreSubmitted",
        "heard sor Submitted",
        "heard sor Filled",
        "heard str",
        "heard trades",
        "journal write entry SENT",
        "journal write entry ALARM",
        "journal write resting PRE_SUBMITTED",
    }
)
#: What the standby tells and is asked comes when it comes, before the lease is switched or after.
ANY_TIME = EITHER | {"heard orders", "heard trades"}
#: What is cut in every run.
ALWAYS: dict[str, tuple[str, ...]] = {
    "lost two": (*_TOLD, "read open_orders", "read executions", "wire orders 1"),
    "told two": ("journal switch_door",),
    "lost one": ("hand open", "journal switch_door", "hand told", "wire orders 1"),
    "told one": ("hand open",),
}
#: In these the lease was not the portal's yet.
BEFORE_SWITCH = frozenset(
    {
        *cuts("hand fence"),
        *cuts("hand open"),
        "journal switch_door before",
        "journal switch_door inside",
        *cuts("journal write entry UNKNOWN"),
    }
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rigs(tmp_path_factory):
    async with AsyncExitStack() as stack:
        two = await stack.enter_async_context(kill_rig(tmp_path_factory.mktemp("two-users"), PairKillRig))
        one = await stack.enter_async_context(kill_rig(tmp_path_factory.mktemp("one-user"), OneUserKillRig))
        yield {"two": two, "one": one}


@pytest_asyncio.fixture(loop_scope="module")
async def rig(rigs, story):
    rig = rigs[story.split()[1]]
    yield rig
    await rig.clear()


@pytest.mark.parametrize("story", STORIES)
async def test_the_table_is_complete(rig, story):
    key, journal = rig.fresh()
    answer = await rig.run(story, key, journal, None)
    assert answer["signal"] is None
    either = {cut for step in EITHER for cut in cuts(step)}
    assert set(answer["steps"]) - either == {cut for step in STEPS[story] for cut in cuts(step)} - either


@pytest.mark.parametrize("story", STORIES)
async def test_q18_the_old_door_is_fenced_and_the_lease_switched_before_anything_is_read_or_sent(rig, story):
    key, journal = rig.fresh()
    steps = (await rig.run(story, key, journal, None))["steps"]
    order = [
        *("hand fence after", "journal switch_door before", "journal switch_door after", "hand told before"),
        *("read open_orders", "journal record_intents after", "wire orders 1 before"),
    ]
    assert [step for step in steps if step in order] == order


@pytest.mark.parametrize(("story", "step"), list(rows(STEPS, ALWAYS)))
async def test_sigkill_at_a_hand_over(rig, story, step):
    key, journal = rig.fresh()
    killed = await rig.run(story, key, journal, step)
    came = killed["signal"] == signal.SIGKILL
    assert came or any(step in cuts(name) for name in EITHER), "the story never came to this step"
    first, second = first_order(key), second_order(key)
    async with rig.restarted(journal) as adapter:
        await until_settled(adapter)
        lease = adapter.journal.door()
        assert adapter.transport.name == lease.door, "it writes through another door than the lease's"
        assert adapter.manager.lease == lease
        if any(step in cuts(name) for name in ANY_TIME):
            assert (lease.door, lease.epoch) in (("tws", 1), ("portal", 2))
        elif step not in BEFORE_SWITCH:
            assert (lease.door, lease.epoch) == ("portal", 2)
        elif story.endswith("two"):
            assert (lease.door, lease.epoch) == ("tws", 1), "the lease moved before it was switched"
        truth = await known(rig, adapter, first)
        assert truth[key].filled == 10, "TWS had taken it"
        before = {row_key: set(row.perm_ids) for row_key, row in truth.items()}
        assert second.key not in truth or step not in BEFORE_SWITCH

        await adapter.quote("AAPL")
        assert (await adapter.place(first)).state is OrderState.FILLED
        stored = {order.key: order for order in adapter.orders()}.get(second.key)
        again = await adapter.place(second)
        if stored is None:
            await until(lambda: adapter.order(second.key).state is OrderState.WORKING, "the second order at work")
        else:
            assert again.state is stored.state
        await until_settled(adapter)
        truth = await known(rig, adapter, first)
        for row_key, perm_ids in before.items():
            assert truth[row_key].perm_ids == perm_ids, f"{row_key} was sent again"
        assert adapter.failover.pair.live.state is LinkState.READY
