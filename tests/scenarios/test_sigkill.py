"""Promises Q1 and Q17: a trading process is killed at every step of an order's life, and its successor knows.

One row a step: SIGKILL there, with the gateway alive in its own process. Then a process with the same journal and
client id connects: the exchange has the order once or not at all, the journal says which, the same key again makes no
second order, nothing is booked twice, and no bracket stands without its stop.
"""

from __future__ import annotations

import os
import signal

import pytest
import pytest_asyncio
from moondev_ibkr.brokers.domain.order import Bracket

from .kill_driver import STORIES, SYMBOLS, WRITING, requests
from .kill_rig import cuts, kill_rig, known, place_again, rows, until_protected, until_settled

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="SIGKILL and fork are POSIX"),
]

_SENT = ("journal record_intents", "wire placeOrder 1", "journal write entry SENT")
_FILLED = (
    "heard openOrder entry",
    "heard status PreSubmitted",
    "heard execution",
    "heard status Filled",
    "heard commission",
    "journal write entry PRE_SUBMITTED",
    "journal write entry FILLED",
    "journal write entry FILL",
    "journal write COMMISSION",
)
_WORKING = (
    "heard openOrder entry",
    "heard status PreSubmitted",
    "heard status Submitted",
    "journal write entry PRE_SUBMITTED",
    "journal write entry WORKING",
)
_PART_FILLED = ("heard execution", "heard commission", "journal write entry FILL", "journal write COMMISSION")
_CANCELLED = (
    "wire cancelOrder 1",
    "journal write entry CANCEL",
    "journal write entry PENDING_CANCEL",
    "heard status PendingCancel",
    "heard status Cancelled",
    "journal write entry CANCELLED",
)
_BRACKET_SENT = (
    *_SENT,
    "wire placeOrder 2",
    "wire placeOrder 3",
    "journal write stop SENT",
    "journal write target SENT",
    "heard openOrder stop",
    "heard openOrder target",
    "journal write stop PRE_SUBMITTED",
    "journal write target PRE_SUBMITTED",
    "journal write target WORKING",
)

#: Story -> its steps. `test_the_table_is_complete` holds it to what the stories really do.
STEPS: dict[str, tuple[str, ...]] = {
    "market": (*_SENT, *_FILLED),
    "limit": (
        *_SENT,
        *_WORKING,
        "journal record_change",
        "wire placeOrder 2",
        "journal write entry MODIFIED",
        *_CANCELLED,
    ),
    "part": (*_SENT, *_WORKING, *_PART_FILLED, *_CANCELLED),
    "bracket": (*_BRACKET_SENT, *_FILLED, "heard status Submitted", "journal write entry WORKING"),
    "part-bracket": (
        *_BRACKET_SENT,
        *_WORKING,
        *_PART_FILLED,
        "journal record_change",
        "wire placeOrder 4",
        "wire placeOrder 5",
        "journal write stop MODIFIED",
        "journal write target MODIFIED",
    ),
    "stop": (
        *_SENT,
        *_FILLED,
        "wire placeOrder 2",
        "journal write resting SENT",
        "heard openOrder resting",
        "heard status Submitted",
        "journal write resting PRE_SUBMITTED",
        "journal write resting WORKING",
        "journal halt",
        "wire cancelOrder 1",
        "journal write resting CANCEL",
        "journal write resting PENDING_CANCEL",
        "heard status PendingCancel",
        "heard status Cancelled",
        "journal write resting CANCELLED",
        "wire placeOrder 3",
        "journal write close SENT",
        "heard openOrder close",
        "journal write close PRE_SUBMITTED",
        "journal write close WORKING",
        "journal write close FILLED",
        "journal write close FILL",
    ),
}

#: What is cut in every run. The others are the same moment under another name (things that one packet or one
#: transaction holds together), or were cut in another story; they are cut in the long run.
ALWAYS: dict[str, tuple[str, ...]] = {
    "market": (*_SENT, "heard execution", "heard commission", "journal write entry FILL"),
    "limit": (
        "heard status Submitted",
        "journal write entry WORKING",
        "journal record_change",
        "wire placeOrder 2",
        "journal write entry MODIFIED",
        "wire cancelOrder 1",
        "journal write entry CANCEL",
        "heard status Cancelled",
        "journal write entry CANCELLED",
    ),
    "part": ("heard execution", "journal write entry FILL", "wire cancelOrder 1", "heard status Cancelled"),
    "bracket": (
        "wire placeOrder 1",
        "wire placeOrder 2",
        "wire placeOrder 3",
        "heard openOrder stop",
        "heard execution",
        "journal write entry FILL",
    ),
    "part-bracket": (
        "heard execution",
        "journal write entry FILL",
        "journal record_change",
        "wire placeOrder 4",
        "wire placeOrder 5",
        "journal write target MODIFIED",
    ),
    "stop": (
        "journal halt",
        "wire cancelOrder 1",
        "wire placeOrder 3",
        "heard openOrder close",
        "journal write close FILL",
    ),
}

#: Writing methods of the journal that no order's life uses -> what uses them.
NOT_PLACING = {
    "adopt": "a person takes over a foreign position",
    "add_transfer": "money paid in or out",
    "block": "an order that is not what was meant",
    "claim_door": "connecting",
    "reserve_order_ids": "ids outside record_intents",
    "resume": "a person lifts the kill switch",
    "set_day_start": "connecting",
    "set_foreign_positions": "a reconciliation; cut in test_sigkill_while_recovering",
    "switch_door": "failing over; cut in test_sigkill_failover",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory):
    async with kill_rig(tmp_path_factory.mktemp("sigkill")) as rig:
        yield rig


@pytest.mark.parametrize("story", STORIES)
async def test_the_table_is_complete(rig, story):
    key, journal = rig.fresh()
    answer = await rig.run(story, key, journal, None)
    await rig.clear()
    assert answer["signal"] is None
    steps = {step for step in answer["steps"] if step.split()[1] not in NOT_PLACING}
    assert steps == {cut for step in STEPS[story] for cut in cuts(step)}


async def test_every_method_that_writes_is_cut_or_named():
    cut = {step.split()[1] for steps in STEPS.values() for step in steps if step.startswith("journal")}
    assert cut | set(NOT_PLACING) == set(WRITING)
    assert not cut & set(NOT_PLACING)


@pytest.mark.parametrize("story", STORIES)
async def test_q1_the_intent_is_durable_before_the_first_byte(rig, story):
    key, journal = rig.fresh()
    steps = (await rig.run(story, key, journal, None))["steps"]
    await rig.clear()
    assert steps.index("journal record_intents after") < steps.index("wire placeOrder 1 before")
    if "journal record_change after" in steps:
        first_change = {"limit": "wire placeOrder 2 before", "part-bracket": "wire placeOrder 4 before"}[story]
        assert steps.index("journal record_change after") < steps.index(first_change)


@pytest.mark.parametrize(("story", "step"), list(rows(STEPS, ALWAYS)))
async def test_sigkill(rig, story, step):
    key, journal = rig.fresh()
    killed = await rig.run(story, key, journal, step)
    assert killed["signal"] == signal.SIGKILL, "the story never came to this step"
    asked = requests(story, key)
    async with rig.restarted(journal) as adapter:
        await until_settled(adapter)
        if isinstance(asked, Bracket):
            await until_protected(rig, key)
        truth = await known(rig, adapter, asked)
        if step.startswith("journal record_intents") and not step.endswith("after"):
            assert truth == {}, "a byte left before its intent was durable"
        before = {row_key: set(row.perm_ids) for row_key, row in truth.items()}

        await place_again(adapter, asked, SYMBOLS.get(story, "AAPL"))
        await until_settled(adapter)
        truth = await known(rig, adapter, asked)
        for row_key, perm_ids in before.items():
            assert truth[row_key].perm_ids == perm_ids, f"{row_key} was sent again"
    await rig.clear()


@pytest.mark.parametrize(
    ("story", "step"),
    [
        ("bracket", "wire placeOrder 1 after"),
        pytest.param("bracket", "heard execution", marks=pytest.mark.soak),
        pytest.param("part-bracket", "journal record_change after", marks=pytest.mark.soak),
        pytest.param("limit", "wire cancelOrder 1 after", marks=pytest.mark.soak),
        pytest.param("part", "heard execution", marks=pytest.mark.soak),
    ],
)
async def test_sigkill_while_recovering(rig, pytestconfig, story, step):
    """The successor is killed too, at every step of its own recovery (in the short run, after each)."""
    key, journal = rig.fresh()
    await rig.run(story, key, journal, step)
    steps = (await rig.run("recover", key, journal, None))["steps"]
    await rig.clear()
    assert steps, "there was something to recover"
    if not pytestconfig.getoption("--soak"):
        steps = [again for again in steps if not again.endswith(("before", "inside"))]
    for again in steps:
        key, journal = rig.fresh()
        await rig.run(story, key, journal, step)
        killed = await rig.run("recover", key, journal, again)
        assert killed["signal"] == signal.SIGKILL, f"the recovery never came to {again}"
        asked = requests(story, key)
        async with rig.restarted(journal) as adapter:
            await until_settled(adapter)
            if isinstance(asked, Bracket):
                await until_protected(rig, key)
            await known(rig, adapter, asked)
        await rig.clear()
