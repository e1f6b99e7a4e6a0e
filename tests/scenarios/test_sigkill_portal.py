"""Promise Q1 at the portal: a trading process is killed at every step of an order's life, and its successor knows.

One row a step: SIGKILL there, with the gateway alive in its own process. Then a process with the same journal
connects: the exchange has the order once or not at all, the journal says which, the same key again makes no second
order, nothing is booked twice, and no bracket stands without its stop.
"""

from __future__ import annotations

import os
import signal

import pytest
import pytest_asyncio
from moondev_ibkr.brokers.domain.order import Bracket

from .kill_driver import SYMBOLS, requests
from .kill_rig import cuts, kill_rig, known, place_again, rows, until_protected, until_settled
from .portal_kill_driver import PORTAL_STORIES
from .portal_kill_rig import PortalKillRig

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="SIGKILL and fork are POSIX"),
]

_SENT = ("journal record_intents", "wire orders 1", "heard answer orders 1", "heard sor PreSubmitted")
_FILLED = (
    *("heard sor Filled", "heard str", "heard trades"),
    "journal write entry PRE_SUBMITTED",
    "journal write entry FILLED",
    "journal write entry FILL",
    "journal write COMMISSION",
)
_WORKING = ("heard sor Submitted", "journal write entry PRE_SUBMITTED", "journal write entry WORKING")
_PART_FILLED = (
    *("heard sor change", "heard str", "heard trades"),
    "journal write entry FILL",
    "journal write COMMISSION",
)
_CANCELLED = (
    "wire cancel 1",
    "heard answer cancel 1",
    "journal write entry CANCEL",
    "journal write entry PENDING_CANCEL",
    "heard sor PendingCancel",
    "heard sor Cancelled",
    "journal write entry CANCELLED",
)
_BRACKET_SENT = (
    *_SENT,
    # the first legs wait here for the last one: all of them leave in one request
    "journal write entry SENT",
    "journal write stop SENT",
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
        "wire change 1",
        "heard answer change 1",
        "heard sor change",
        "journal write entry MODIFIED",
        *_CANCELLED,
    ),
    "asked": (
        *_SENT,
        *_WORKING,
        *("wire reply 1", "heard answer reply 1", "wire reply 2", "heard answer reply 2"),
        "journal record_change",
        "wire change 1",
        "heard answer change 1",
        *("wire reply 3", "heard answer reply 3", "wire reply 4", "heard answer reply 4"),
        "heard sor change",
        "journal write entry MODIFIED",
        *_CANCELLED,
    ),
    "part": (*_SENT, *_WORKING, *_PART_FILLED, *_CANCELLED),
    "bracket": (*_BRACKET_SENT, *_FILLED, "heard sor Submitted", "journal write entry WORKING"),
    "part-bracket": (
        *_BRACKET_SENT,
        *_WORKING,
        *_PART_FILLED,
        "journal record_change",
        "wire change 1",
        "wire change 2",
        "heard answer change 1",
        "heard answer change 2",
        "journal write stop MODIFIED",
        "journal write target MODIFIED",
    ),
    "stop": (
        *_SENT,
        *_FILLED,
        "wire orders 2",
        "heard answer orders 2",
        "heard sor Submitted",
        "journal write resting PRE_SUBMITTED",
        "journal write resting WORKING",
        "journal halt",
        "wire cancel 1",
        "heard answer cancel 1",
        "heard orders",
        "journal write resting CANCEL",
        "journal write resting PENDING_CANCEL",
        "heard sor PendingCancel",
        "heard sor Cancelled",
        "journal write resting CANCELLED",
        "wire orders 3",
        "heard answer orders 3",
        "journal write close PRE_SUBMITTED",
        "journal write close WORKING",
        "journal write close FILLED",
        "journal write close FILL",
    ),
}
#: Steps that a story takes or not: answers and frames come over two connections, in either order.
EITHER: dict[str, frozenset[str]] = {
    "market": frozenset({"journal write entry SENT", "journal write entry WORKING"}),
    "limit": frozenset({"journal write entry SENT"}),
    "asked": frozenset({"journal write entry SENT"}),
    "part": frozenset({"journal write entry SENT"}),
    "bracket": frozenset({"journal write target SENT"}),
    "part-bracket": frozenset({"journal write target SENT", "heard answer change 2"}),
    "stop": frozenset(
        {
            "journal write entry SENT",
            "journal write entry WORKING",
            "journal write resting SENT",
            "journal write close SENT",
        }
    ),
}

#: What is cut in every run. The others are the same moment under another name, or were cut in another story or at the
#: TWS door; they are cut in the long run.
ALWAYS: dict[str, tuple[str, ...]] = {
    "market": ("journal record_intents", "wire orders 1", "heard answer orders 1", "heard str"),
    "limit": ("wire change 1", "wire cancel 1", "heard sor Cancelled"),
    "asked": ("wire orders 1", "heard answer orders 1", "wire reply 1", "wire reply 2", "wire reply 4"),
    "part": ("heard sor change",),
    "bracket": ("wire orders 1", "heard answer orders 1", "journal write entry FILL"),
    "part-bracket": ("wire change 1",),
    "stop": ("wire orders 3",),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory):
    async with kill_rig(tmp_path_factory.mktemp("sigkill-portal"), PortalKillRig) as rig:
        yield rig


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def nothing_works_afterwards(rig):
    yield
    await rig.clear()


@pytest.mark.parametrize("story", PORTAL_STORIES)
async def test_the_table_is_complete(rig, story):
    key, journal = rig.fresh()
    answer = await rig.run(story, key, journal, None)
    assert answer["signal"] is None
    either = {cut for step in EITHER[story] for cut in cuts(step)}
    assert set(answer["steps"]) - either == {cut for step in STEPS[story] for cut in cuts(step)} - either


@pytest.mark.parametrize("story", PORTAL_STORIES)
async def test_q1_the_intent_is_durable_before_the_first_byte(rig, story):
    key, journal = rig.fresh()
    steps = (await rig.run(story, key, journal, None))["steps"]
    assert steps.index("journal record_intents after") < steps.index("wire orders 1 before")
    if "journal record_change after" in steps:
        assert steps.index("journal record_change after") < steps.index("wire change 1 before")


@pytest.mark.parametrize(
    ("story", "step"),
    [
        ("bracket", "wire orders 1 after"),
        pytest.param("asked", "wire reply 2 after", marks=pytest.mark.soak),
        pytest.param("limit", "wire change 1 after", marks=pytest.mark.soak),
        pytest.param("part", "heard str", marks=pytest.mark.soak),
        pytest.param("part-bracket", "wire change 1 after", marks=pytest.mark.soak),
    ],
)
async def test_sigkill_while_recovering_at_the_portal(rig, pytestconfig, story, step):
    """The successor is killed too, at every step of its recovery (in the short run, after its last transactions)."""
    key, journal = rig.fresh()
    await rig.run(story, key, journal, step)
    told = (await rig.run("recover", key, journal, None))["steps"]
    await rig.clear()
    # frames of the stream come before its answers or after them
    steps = [again for again in told if not again.startswith(("heard sor", "heard str"))]
    assert steps, "there was something to recover"
    if not pytestconfig.getoption("--soak"):
        steps = [again for again in steps if again.startswith("journal") and again.endswith("after")][-2:]
    for again in steps:
        key, journal = rig.fresh()
        await rig.run(story, key, journal, step)
        await rig.run("recover", key, journal, again)
        asked = requests(story, key)
        async with rig.restarted(journal) as adapter:
            await until_settled(adapter)
            if isinstance(asked, Bracket):
                await until_protected(rig, key)
            await known(rig, adapter, asked)
        await rig.clear()


@pytest.mark.parametrize(("story", "step"), list(rows(STEPS, ALWAYS)))
async def test_sigkill_at_the_portal(rig, story, step):
    key, journal = rig.fresh()
    killed = await rig.run(story, key, journal, step)
    came = killed["signal"] == signal.SIGKILL
    assert came or any(step in cuts(name) for name in EITHER[story]), "the story never came to this step"
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
