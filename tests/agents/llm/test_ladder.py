"""Every failure over HTTP with the real client libraries: the result says which rung of the ladder answered."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from moondev_ibkr.agents.llm.anthropic_client import AnthropicClient
from moondev_ibkr.agents.llm.asking import Ledger, Target
from moondev_ibkr.agents.llm.assessment import Assessment, Factor
from moondev_ibkr.agents.llm.call_log import CallLog
from moondev_ibkr.agents.llm.ladder import Ladder
from moondev_ibkr.agents.llm.model_client import ModelClient
from moondev_ibkr.agents.llm.ollama_client import OllamaClient
from moondev_ibkr.agents.llm.openai_client import OpenAiClient
from moondev_ibkr.agents.llm.pool import Pool
from moondev_ibkr.agents.llm.prices import load_prices
from moondev_ibkr.agents.llm.request import Evidence, Priority, Request, Result, Rung
from moondev_ibkr.agents.llm.rules_backend import RulesBackend
from moondev_ibkr.agents.llm.troubles import Trouble
from moondev_ibkr.brokers.errors import NoData

from .model_server import Act, ModelServer, drops, fails, judgement, missing, model_server, says, silent

SMALL, LARGE = "small:8b", "large:70b"
RULES_SCORE = 31
RSI = Evidence("rsi14", "RSI of 14 days is 25.1", 25.1)


def by_rules(evidence: Mapping[str, Evidence]) -> Assessment:
    if "rsi14" not in evidence:
        raise NoData("rules", "no RSI", "ask for bars")
    factor = Factor(name="RSI", effect="raises", evidence_ids=("rsi14",))
    return Assessment(
        reasoning="by rules",
        factors=(factor,),
        score=RULES_SCORE,
        confidence=1.0,
        direction="unclear",
        evidence_ids=("rsi14",),
    )


RULES = RulesBackend({Assessment: by_rules})


def question(subject: str = "AAPL", **more: Any) -> Request[Assessment]:
    settings = {"evidence": (RSI,), "deadline": 20.0, **more}
    return Request(system="You weigh evidence.", subject=subject, schema=Assessment, **settings)


@dataclass(frozen=True)
class Kind:
    """A backend under test."""

    make: Callable[[str], ModelClient]
    model: str
    path: str


def ollama(url: str, **more: Any) -> ModelClient:
    return OllamaClient(url, num_ctx=4096, **more)


KINDS = {
    "ollama": Kind(ollama, SMALL, "/api/chat"),
    "openai_compatible": Kind(lambda url: OpenAiClient(url, key="k3y-k3y-k3y"), SMALL, "/v1/chat/completions"),
    "anthropic": Kind(
        lambda url: AnthropicClient("k3y-k3y-k3y", url=url, retries=0), "claude-haiku-4-5-20251001", "/v1/messages"
    ),
    "anthropic by tool": Kind(
        lambda url: AnthropicClient("k3y-k3y-k3y", url=url, retries=0, shape="tool"),
        "claude-haiku-4-5-20251001",
        "/v1/messages",
    ),
}


def shape_of_claude(request: dict[str, Any]) -> dict[str, Any]:
    if "tools" in request:
        return request["tools"][0]["input_schema"]
    return request["output_config"]["format"]["schema"]


#: Where a request holds the schema of its answer.
SCHEMA_OF: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "/api/chat": lambda request: request["format"],
    "/v1/chat/completions": lambda request: request["response_format"]["json_schema"]["schema"],
    "/v1/messages": shape_of_claude,
}


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with model_server() as served:
        yield served


@pytest.fixture
def other() -> Iterator[ModelServer]:
    with model_server() as served:
        yield served


@contextmanager
def opened_ledger(folder: Path, cap: str = "5") -> Iterator[Ledger]:
    calls = CallLog(
        folder / "llm.sqlite3",
        redact=lambda text: text,
        daily_cap=Decimal(cap),
        now=lambda: datetime(2026, 11, 28, 15, tzinfo=UTC),
    )
    ledger = Ledger(calls, load_prices())
    try:
        yield ledger
    finally:
        ledger.close()


@asynccontextmanager
async def ladder_of(*pools: tuple[list[ModelClient], str], ledger: Ledger | None = None) -> AsyncIterator[Ladder]:
    made = [Target(Pool(clients), model, ledger) for clients, model in pools]
    try:
        yield Ladder(made, RULES)
    finally:
        for target in made:
            await target.pool.aclose()


async def climbed(kind: Kind, url: str, request: Request[Assessment] | None = None) -> Result[Assessment]:
    async with ladder_of(([kind.make(url)], kind.model)) as ladder:
        return await ladder.complete_json(request or question())


def told(result: Result[Assessment]) -> list[tuple[Rung, Trouble]]:
    return [(failure.rung, failure.trouble) for failure in result.failures]


def degraded_by(result: Result[Assessment], *troubles: Trouble) -> bool:
    """Whether rules answered, and that is what went wrong before."""
    assert [trouble for _, trouble in told(result)] == list(troubles)
    assert (result.rung, result.backend, result.degraded) == (Rung.RULES, "rules", True)
    return result.answer.score == RULES_SCORE


@pytest.fixture(params=KINDS, ids=lambda name: name)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


async def test_a_model_answers_in_the_shape_that_was_asked_for(server: ModelServer, kind: Kind) -> None:
    result = await climbed(kind, server.url)
    assert (result.answer.score, result.rung, result.degraded, result.failures) == (72, Rung.ASKED, False, ())
    assert (result.model, result.host) == (kind.model, server.url)
    assert result.usage.completion_tokens == 40
    ((path, request),) = server.asked
    assert path == kind.path
    assert "score" in SCHEMA_OF[kind.path](request)["properties"]
    assert ("temperature" in str(request)) == (path != "/v1/messages")


async def test_the_variable_part_of_a_prompt_comes_last(server: ModelServer) -> None:
    async with ladder_of(([ollama(server.url)], SMALL)) as ladder:
        await ladder.complete_json(question("AAPL"))
        await ladder.complete_json(question("MSFT"))
    systems = [request["messages"][0]["content"] for _, request in server.asked]
    users = [request["messages"][1]["content"] for _, request in server.asked]
    assert systems[0] == systems[1]
    assert [text.rsplit(": ", 1)[1] for text in users] == ["AAPL", "MSFT"]
    assert users[0].rsplit("\n", 1)[0] == users[1].rsplit("\n", 1)[0]
    options = [request["options"] for _, request in server.asked]
    assert options[0] == options[1] == {"temperature": 0.0, "seed": 7, "num_ctx": 4096, "num_predict": 700}


#: What the server does -> what the rung failed with. All of these leave nothing but rules.
FINAL: dict[str, tuple[Act, Trouble]] = {
    "queue full": (fails(503, "server busy, please try again"), Trouble.QUEUE_FULL),
    "overloaded": (fails(529, "Overloaded", "overloaded_error"), Trouble.OVERLOADED),
    "rate limit": (fails(429, "slow down", "rate_limit_error"), Trouble.OVERLOADED),
    "no permission": (fails(401, "bad key", "authentication_error"), Trouble.NO_PERMISSION),
    "server failed": (fails(500, "cuda error"), Trouble.SERVER_FAILED),
    "model missing": (missing, Trouble.MODEL_MISSING),
    "connection drops": (drops, Trouble.HOST_DOWN),
    "not JSON": (lambda *_: (200, b"<html>login</html>"), Trouble.NOT_THE_PROTOCOL),
}


@pytest.mark.parametrize("name", FINAL)
async def test_a_failing_host_leaves_the_answer_to_rules(server: ModelServer, kind: Kind, name: str) -> None:
    act, trouble = FINAL[name]
    server.plays(act)
    result = await climbed(kind, server.url)
    assert degraded_by(result, trouble)
    assert result.failures[0].host == server.url
    assert len(server.asked) == 1


async def test_a_host_that_is_down_leaves_the_answer_to_rules(kind: Kind) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        assert degraded_by(await climbed(kind, url), Trouble.HOST_DOWN)


async def test_a_slow_host_leaves_the_answer_to_rules_at_the_deadline(server: ModelServer, kind: Kind) -> None:
    server.plays(silent)
    begun = asyncio.get_running_loop().time()
    result = await climbed(kind, server.url, question(deadline=0.4))
    assert degraded_by(result, Trouble.DEADLINE)
    assert asyncio.get_running_loop().time() - begun < 5


#: What a model answers -> what is wrong with it. Each is asked once more, with what was wrong.
BAD: dict[str, tuple[str, Trouble]] = {
    "free text": ("The score is 85.", Trouble.INVALID_JSON),
    "a bare number": ("85", Trouble.INVALID_JSON),
    "JSON after words": ("Here it is: " + judgement(), Trouble.INVALID_JSON),
    "cut JSON": (judgement()[:-5], Trouble.INVALID_JSON),
    "a name twice": ('{"score": 5, "score": 90}', Trouble.INVALID_JSON),
    "NaN": (judgement().replace("0.6", "NaN"), Trouble.INVALID_JSON),
    "above the range": (judgement(score=101), Trouble.OUT_OF_RANGE),
    "below the range": (judgement(score=-1), Trouble.OUT_OF_RANGE),
    "confidence out of range": (judgement(confidence=72), Trouble.OUT_OF_RANGE),
    "a number as text": (judgement(score="85"), Trouble.WRONG_SHAPE),
    "a fraction": (judgement(score=85.5), Trouble.WRONG_SHAPE),
    "true": (judgement(score=True), Trouble.WRONG_SHAPE),
    "no score": (judgement(score=None), Trouble.WRONG_SHAPE),
    "a field of its own": (judgement(order="BUY 1000"), Trouble.WRONG_SHAPE),
    "no evidence": (judgement(ids=()), Trouble.WRONG_SHAPE),
    "evidence that was not given": (judgement(ids=("rsi14", "insider_tip")), Trouble.WRONG_EVIDENCE),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_answer_is_asked_again_with_what_was_wrong(server: ModelServer, name: str) -> None:
    text, trouble = BAD[name]
    server.plays(says(text), says(judgement(score=44)))
    result = await climbed(KINDS["ollama"], server.url)
    assert (result.answer.score, result.rung, result.degraded) == (44, Rung.RE_ASKED, False)
    assert told(result) == [(Rung.ASKED, trouble)]
    first, second = (request["messages"][-1]["content"] for _, request in server.asked)
    assert second.startswith(first)
    assert "refused" in second.removeprefix(first)
    assert text not in second


@pytest.mark.parametrize("name", BAD)
async def test_a_model_that_insists_is_replaced_by_rules(server: ModelServer, name: str) -> None:
    text, trouble = BAD[name]
    server.plays(says(text))
    result = await climbed(KINDS["openai_compatible"], server.url)
    assert degraded_by(result, trouble, trouble)
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("kind_name", "ends", "trouble"),
    [
        ("ollama", "length", Trouble.TRUNCATED),
        ("ollama", "load", Trouble.UNFINISHED),
        ("openai_compatible", "length", Trouble.TRUNCATED),
        ("anthropic", "max_tokens", Trouble.TRUNCATED),
        ("anthropic", "pause_turn", Trouble.UNFINISHED),
        ("anthropic by tool", "end_turn", Trouble.UNFINISHED),
    ],
)
async def test_half_an_answer_is_none_however_good_it_looks(
    server: ModelServer, kind_name: str, ends: str, trouble: Trouble
) -> None:
    server.plays(says(judgement(), ends=ends))
    assert degraded_by(await climbed(KINDS[kind_name], server.url), trouble, trouble)


@pytest.mark.parametrize(("kind_name", "ends"), [("anthropic", "refusal"), ("openai_compatible", "content_filter")])
async def test_a_model_that_declines_is_not_asked_again(server: ModelServer, kind_name: str, ends: str) -> None:
    server.plays(says(judgement(), ends=ends))
    assert degraded_by(await climbed(KINDS[kind_name], server.url), Trouble.REFUSED)
    assert len(server.asked) == 1


async def test_a_fence_around_all_of_the_answer_is_taken_off(server: ModelServer) -> None:
    server.plays(says(f"<think>hm</think>\n```json\n{judgement()}\n```"))
    assert (await climbed(KINDS["ollama"], server.url)).rung is Rung.ASKED


@pytest.mark.parametrize("act", [fails(503), fails(500), missing, drops], ids=["503", "500", "missing", "drops"])
async def test_the_same_model_on_another_host_comes_next(server: ModelServer, other: ModelServer, act: Act) -> None:
    server.plays(act)
    other.loaded = server.loaded = []
    async with ladder_of(([ollama(server.url), ollama(other.url)], SMALL)) as ladder:
        result = await ladder.complete_json(question())
    assert (result.rung, result.host, result.degraded) == (Rung.OTHER_HOST, other.url, False)
    assert [(failure.rung, failure.host) for failure in result.failures] == [(Rung.ASKED, server.url)]


async def test_a_silent_host_leaves_time_for_another(server: ModelServer, other: ModelServer) -> None:
    server.plays(silent)
    async with ladder_of(([ollama(server.url), ollama(other.url)], SMALL)) as ladder:
        result = await ladder.complete_json(question(deadline=1.5))
    assert (result.rung, result.host) == (Rung.OTHER_HOST, other.url)
    assert told(result) == [(Rung.ASKED, Trouble.DEADLINE)]


async def test_another_model_comes_after_all_hosts_of_the_first(server: ModelServer, other: ModelServer) -> None:
    server.plays(fails(529, "Overloaded", "overloaded_error"))
    claude = AnthropicClient("k3y-k3y-k3y", url=server.url, retries=0)
    async with ladder_of(([claude], "claude-haiku-4-5"), ([ollama(other.url)], LARGE)) as ladder:
        result = await ladder.complete_json(question())
    assert (result.rung, result.backend, result.model) == (Rung.OTHER_MODEL, "ollama", LARGE)
    assert told(result) == [(Rung.ASKED, Trouble.OVERLOADED)]


async def test_an_insisting_model_gives_way_to_another_with_one_question_more_in_all(
    server: ModelServer, other: ModelServer
) -> None:
    server.plays(says("no"))
    other.plays(says(judgement(score=200)))
    async with ladder_of(([ollama(server.url)], SMALL), ([ollama(other.url)], LARGE)) as ladder:
        result = await ladder.complete_json(question())
    assert [rung for rung, _ in told(result)] == [Rung.ASKED, Rung.RE_ASKED, Rung.OTHER_MODEL]
    assert degraded_by(result, Trouble.INVALID_JSON, Trouble.INVALID_JSON, Trouble.OUT_OF_RANGE)


async def test_without_a_model_rules_answer_and_nothing_is_degraded() -> None:
    async with ladder_of() as ladder:
        result = await ladder.complete_json(question())
    assert (result.rung, result.degraded, result.failures) == (Rung.RULES, False, ())


async def test_when_rules_cannot_tell_either_there_is_no_answer(server: ModelServer) -> None:
    server.plays(fails(500))
    async with ladder_of(([ollama(server.url)], SMALL)) as ladder:
        with pytest.raises(NoData) as caught:
            await ladder.complete_json(question(evidence=(Evidence("volume", "volume is 3 times its average", 3.0),)))
    assert [failure.trouble for failure in caught.value.data["failures"]] == [Trouble.SERVER_FAILED]


async def test_rules_are_held_to_the_same_bounds() -> None:
    wild = RulesBackend({Assessment: lambda evidence: by_rules(evidence).model_copy(update={"score": 150})})
    with pytest.raises(Exception, match="score"):
        await Ladder((), wild).complete_json(question())


async def test_a_model_that_refuses_forced_tools_is_asked_by_output_config(server: ModelServer) -> None:
    server.plays(
        fails(400, "tool_choice: forced tool use is not supported", "invalid_request_error"), says(judgement())
    )
    result = await climbed(KINDS["anthropic by tool"], server.url)
    assert result.rung is Rung.ASKED
    (_, first), (_, second) = server.asked
    assert ("tool_choice" in first, "output_config" in second, "tool_choice" in second) == (True, True, False)


async def test_a_hot_question_goes_first(server: ModelServer) -> None:
    pool = Pool([ollama(server.url)], slots=1)
    ladder = Ladder([Target(pool, SMALL)], RULES)
    gate = asyncio.Event()

    async def held() -> None:
        loop = asyncio.get_running_loop()
        async with pool.slot(SMALL, deadline=loop.time() + 20):
            await gate.wait()

    first = asyncio.create_task(held())
    while not pool.status()[0].under_way:
        await asyncio.sleep(0)
    rows = (("LATER", Priority.BACKGROUND), ("NORMAL", Priority.NORMAL), ("HOT", Priority.HOT))
    asked = [asyncio.create_task(ladder.complete_json(question(name, priority=rank))) for name, rank in rows]
    while pool.waiting < len(rows):
        await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(first, *asked)
    await pool.aclose()
    order = [request["messages"][1]["content"].rsplit(": ", 1)[1] for _, request in server.asked]
    assert order == ["HOT", "NORMAL", "LATER"]


async def test_the_same_question_is_answered_from_the_log(server: ModelServer, tmp_path: Path) -> None:
    with opened_ledger(tmp_path) as ledger:
        async with ladder_of(([ollama(server.url, remember=-1)], SMALL), ledger=ledger) as ladder:
            first = await ladder.complete_json(question())
            again = await ladder.complete_json(question())
            assert (again.answer, again.cached, again.usage.cost) == (first.answer, True, 0.0)
            assert len(server.asked) == 1
            server.models[SMALL] = "sha256:another"
            assert not (await ladder.complete_json(question())).cached
            assert not (await ladder.complete_json(question("MSFT"))).cached
            assert len(server.asked) == 3
        assert (ledger.counts.asked, ledger.counts.cached) == (3, 1)


async def test_an_answer_that_was_refused_never_comes_from_the_log(server: ModelServer, tmp_path: Path) -> None:
    server.plays(says(judgement(score=300)))
    with opened_ledger(tmp_path) as ledger:
        async with ladder_of(([ollama(server.url)], SMALL), ledger=ledger) as ladder:
            for _ in range(2):
                assert (await ladder.complete_json(question())).rung is Rung.RULES
        rows = ledger.calls.rows("SELECT outcome, trouble, answer, rung FROM calls ORDER BY id", {})
    assert len(server.asked) == 4
    assert {(row["outcome"], row["trouble"]) for row in rows} == {("failed", "out_of_range")}
    assert all('"score": 300' in row["answer"] for row in rows)
    assert [row["rung"] for row in rows] == ["asked", "re_asked"] * 2


async def test_a_name_that_may_come_to_mean_another_model_is_never_answered_from_the_log(
    server: ModelServer, tmp_path: Path
) -> None:
    claude = AnthropicClient("k3y-k3y-k3y", url=server.url, retries=0)
    with opened_ledger(tmp_path) as ledger:
        async with ladder_of(([claude], "claude-haiku-4-5"), ledger=ledger) as ladder:
            for _ in range(2):
                assert not (await ladder.complete_json(question())).cached
    assert len(server.asked) == 2


async def test_over_the_daily_cap_nothing_leaves(server: ModelServer, tmp_path: Path) -> None:
    claude = AnthropicClient("k3y-k3y-k3y", url=server.url, retries=0, thoughts=1_000)
    server.plays(says(judgement(), tokens=(1_000, 1_000)))
    with opened_ledger(tmp_path, cap="0.02") as ledger:
        async with ladder_of(([claude], "claude-haiku-4-5"), ledger=ledger) as ladder:
            results = [await ladder.complete_json(question(f"S{number}")) for number in range(4)]
            spent = ledger.calls.spent()
    # 1 USD and 5 USD a million: 0.006 each, of which 20 of 1 020 prompt tokens were cached.
    assert [result.rung for result in results] == [Rung.ASKED, Rung.ASKED, Rung.RULES, Rung.RULES]
    assert told(results[2]) == [(Rung.ASKED, Trouble.COST_CAP)]
    assert spent == 2 * Decimal("0.006002")
    assert results[0].usage.cost == pytest.approx(0.006002)
    assert len(server.asked) == 2


async def test_a_failure_that_computed_nothing_costs_nothing(server: ModelServer, tmp_path: Path) -> None:
    server.plays(fails(529, "Overloaded", "overloaded_error"))
    claude = AnthropicClient("k3y-k3y-k3y", url=server.url, retries=0)
    with opened_ledger(tmp_path) as ledger:
        async with ladder_of(([claude], "claude-haiku-4-5"), ledger=ledger) as ladder:
            await ladder.complete_json(question())
        assert ledger.calls.spent() == 0


async def test_a_bad_answer_costs_what_it_cost(server: ModelServer, tmp_path: Path) -> None:
    server.plays(says(judgement(score=300), tokens=(1_000, 1_000)))
    claude = AnthropicClient("k3y-k3y-k3y", url=server.url, retries=0)
    with opened_ledger(tmp_path) as ledger:
        async with ladder_of(([claude], "claude-haiku-4-5"), ledger=ledger) as ladder:
            assert degraded_by(await ladder.complete_json(question()), Trouble.OUT_OF_RANGE, Trouble.OUT_OF_RANGE)
        assert ledger.calls.spent() == 2 * Decimal("0.006002")


async def test_an_answer_in_the_log_that_is_not_valid_any_more_is_asked_again(
    server: ModelServer, tmp_path: Path
) -> None:
    with opened_ledger(tmp_path) as ledger:
        async with ladder_of(([ollama(server.url)], SMALL), ledger=ledger) as ladder:
            await ladder.complete_json(question())
            with closing(sqlite3.connect(ledger.calls.path)) as other_hand, other_hand:
                other_hand.execute("UPDATE calls SET answer = ?", (judgement(score=999),))
            result = await ladder.complete_json(question())
    assert (result.answer.score, result.cached, len(server.asked)) == (72, False, 2)
    assert (result.rung, result.failures) == (Rung.ASKED, ())


async def test_a_question_that_may_have_been_computed_keeps_its_most(server: ModelServer, tmp_path: Path) -> None:
    server.plays(silent)
    claude = AnthropicClient("k3y-k3y-k3y", url=server.url, retries=0)
    with opened_ledger(tmp_path) as ledger:
        async with ladder_of(([claude], "claude-haiku-4-5"), ledger=ledger) as ladder:
            assert degraded_by(await ladder.complete_json(question(deadline=0.3)), Trouble.DEADLINE)
        assert ledger.calls.spent() > Decimal("0.02")


async def test_a_log_that_cannot_be_written_stops_the_question(server: ModelServer, tmp_path: Path) -> None:
    (tmp_path / "llm.sqlite3").mkdir()
    with opened_ledger(tmp_path) as ledger:
        async with ladder_of(([ollama(server.url)], SMALL), ledger=ledger) as ladder:
            assert degraded_by(await ladder.complete_json(question()), Trouble.LOG_FAILED)
    assert server.asked == []


async def test_cancelling_frees_the_slot_and_the_queue(server: ModelServer) -> None:
    server.plays(silent, says(judgement()))
    pool = Pool([ollama(server.url)], slots=1)
    ladder = Ladder([Target(pool, SMALL)], RULES)
    running = asyncio.create_task(ladder.complete_json(question("A")))
    while not server.asked:
        await asyncio.sleep(0.005)
    queued = asyncio.create_task(ladder.complete_json(question("B")))
    while not pool.waiting:
        await asyncio.sleep(0)
    queued.cancel()
    running.cancel()
    ended = await asyncio.gather(running, queued, return_exceptions=True)
    assert [type(error) for error in ended] == [asyncio.CancelledError] * 2
    assert (pool.status()[0].under_way, pool.waiting) == (0, 0)
    assert (await ladder.complete_json(question("C"))).rung is Rung.ASKED
    await pool.aclose()
