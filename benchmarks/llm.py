"""Tickers a minute through language models: one after another, several at once, and screened by a small model first.

The server computes SLOTS answers at a time and takes LARGE or SMALL seconds for each, which is short for a model: what
the clients cost weighs more here than in use. The other side is the plain `ollama` client with the same prompts and
schema, its answers validated by pydantic alone, one ticker after another; ours is the ladder with pool, log, digest and
cache, where every question is new. A pool with more under way than the server has slots keeps it busy between answers;
its row takes more tickers than the others, so that the two ends, at which slots stand empty, weigh little. `busy` is
the share of the slots' time in which the server computed: what is missing to 1 is ours and the ends.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path

import ollama
from moondev_ibkr.agents.llm.asking import Ledger, Target
from moondev_ibkr.agents.llm.assessment import Assessment
from moondev_ibkr.agents.llm.call_log import CallLog
from moondev_ibkr.agents.llm.ladder import Ladder
from moondev_ibkr.agents.llm.ollama_client import OllamaClient
from moondev_ibkr.agents.llm.pool import Pool
from moondev_ibkr.agents.llm.prices import load_prices
from moondev_ibkr.agents.llm.prompts import system_prompt, user_prompt
from moondev_ibkr.agents.llm.request import Evidence, Request, Result, Rung
from moondev_ibkr.agents.llm.rules_backend import RulesBackend

from . import llm_rounds
from .llm_models import AHEAD, LARGE, SLOTS, SMALL, TOP, llm_server
from .market import symbol_names
from .options import Options
from .rows import Aim, Row, faster, shorter
from .statistics import median

TICKERS, AHEAD_TICKERS = 40, 150
EVIDENCE, SYSTEM_LINES = 30, 40
SCHEMA = Assessment.model_json_schema()
OVERHEAD = Aim("ratio", "<=", 1.02, "<= 1.02x")
PARALLEL = Aim("ratio", ">=", 5.0, ">= 5x")

Score = Callable[[list[str]], Awaitable[None]]


async def run(options: Options) -> list[Row]:
    tickers = symbol_names(options.amount(TICKERS, 6))
    long = {"ahead": symbol_names(options.amount(AHEAD_TICKERS, 15))}
    shrink = 0.04 if options.quick else 1.0
    seconds = {name: taken * shrink for name, taken in (LARGE, SMALL)}
    async with llm_server(seconds) as url, _Bench(url) as bench:
        sides: dict[str, Score] = {
            "raw": lambda names: bench.raw(names, 1),
            "raw gathered": lambda names: bench.raw(names, SLOTS),
            "one": lambda names: bench.ours(names, 1),
            "slots": lambda names: bench.ours(names, SLOTS),
            "ahead": lambda names: bench.ours(names, AHEAD),
            "stages": lambda names: bench.two_stages(names, AHEAD),
        }
        times: dict[str, list[float]] = {name: [] for name in sides}
        for side in sides.values():
            await side(tickers[:1])
        for _ in range(1 if options.quick else min(options.rounds, 2)):
            for name, side in sides.items():
                started = time.perf_counter()
                await side(long.get(name, tickers))
                times[name].append((time.perf_counter() - started) / len(long.get(name, tickers)))
    return [*_rows(times, seconds[LARGE[0]]), *await llm_rounds.rows(options)]


def _rows(times: dict[str, list[float]], seconds: float) -> list[Row]:
    """`times` are seconds a ticker, `seconds` what the server takes for one answer of the large model."""
    each = {name: [1000 * taken for taken in rows] for name, rows in times.items()}
    rate = {name: [60 / taken for taken in rows] for name, rows in times.items()}
    busy = {name: seconds / SLOTS / median(rows) for name, rows in times.items()}
    unit = "tickers/min"
    return [
        shorter("llm", "one model, one after another", "ms/ticker", each["raw"], each["one"], OVERHEAD),
        shorter(
            "llm",
            f"the same, {SLOTS} at once by hand on the raw side",
            "ms/ticker",
            each["raw gathered"],
            each["slots"],
        ),
        faster(
            "llm",
            f"{SLOTS} server slots, {SLOTS} in flight, against one by one",
            unit,
            rate["raw"],
            rate["slots"],
            busy=busy["slots"],
        ),
        faster(
            "llm",
            f"{SLOTS} server slots, {AHEAD} in flight, against one by one",
            unit,
            rate["raw"],
            rate["ahead"],
            PARALLEL,
            busy=busy["ahead"],
        ),
        faster(
            "llm",
            f"small model for all, large for {TOP:.0%}, against large one by one",
            unit,
            rate["raw"],
            rate["stages"],
        ),
    ]


class _Bench:
    """Both sides against one server. Each question of ours is new, so that none comes from the log."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._folder = tempfile.TemporaryDirectory()
        self._asked = 0

    async def __aenter__(self) -> _Bench:
        self._raw = ollama.AsyncClient(host=self._url, timeout=60)
        calls = CallLog(Path(self._folder.name) / "llm.sqlite3", redact=str, daily_cap=Decimal(1))
        self._ledger = Ledger(calls, load_prices())
        self._pools: dict[int, Pool] = {}
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._raw._client.aclose()
        for pool in self._pools.values():
            await pool.aclose()
        self._ledger.close()
        self._folder.cleanup()

    async def raw(self, names: list[str], at_once: int) -> None:
        gate = asyncio.Semaphore(at_once)

        async def one(name: str) -> None:
            request = self._request(name)
            async with gate:
                answer = await self._raw.chat(
                    model=LARGE[0],
                    messages=[
                        {"role": "system", "content": system_prompt(request)},
                        {"role": "user", "content": user_prompt(request)},
                    ],
                    format=SCHEMA,
                    options={"temperature": 0, "num_ctx": 16_384, "num_predict": 700},
                    keep_alive="30m",
                )
            Assessment.model_validate_json(answer.message.content or "")

        await asyncio.gather(*map(one, names))

    async def ours(self, names: list[str], at_once: int, model: str = LARGE[0]) -> None:
        ladder, waiting = self._ladder(at_once, model), iter(names)
        results: list[Result[Assessment]] = []

        async def work() -> None:
            for name in waiting:
                results.append(await ladder.complete_json(self._request(name)))

        # as `Screening` does: a question is made when there is room for it, so that the first leaves at once
        await asyncio.gather(*(work() for _ in range(at_once)))
        wrong = [result for result in results if result.rung is not Rung.ASKED or result.cached]
        if wrong:
            raise RuntimeError(f"not every ticker was answered by the model itself: {wrong[0]}")

    async def two_stages(self, names: list[str], at_once: int) -> None:
        await self.ours(names, at_once, SMALL[0])
        await self.ours(names[: max(1, round(len(names) * TOP))], at_once)

    def _ladder(self, at_once: int, model: str) -> Ladder:
        if at_once not in self._pools:
            self._pools[at_once] = Pool([OllamaClient(self._url)], slots=at_once)
        return Ladder([Target(self._pools[at_once], model, self._ledger)], RulesBackend({}))

    def _request(self, name: str) -> Request[Assessment]:
        self._asked += 1
        rows = [
            Evidence(f"e{place}", f"measure {place} is {place * 1.25:.2f}, its median {place}")
            for place in range(EVIDENCE)
        ]
        rows.append(Evidence("question", f"number {self._asked}"))
        system = "\n".join(
            f"Rule {place}: weigh what departs from a name's own history." for place in range(SYSTEM_LINES)
        )
        return Request(system=system, subject=name, evidence=tuple(rows), schema=Assessment)
