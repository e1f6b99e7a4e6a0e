"""A real inference engine behind the OpenAI route: llama-server, with any model, where somebody runs one.

    MOONDEV_LLAMA_SERVER=http://127.0.0.1:18080 MOONDEV_LLAMA_MODEL=tiny.gguf pytest tests/agents/llm

A random model proves transport, schema, queueing and reuse of the prompt; never judgement.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Annotated, Literal

import pytest
from moondev_ibkr.agents.llm.asking import Target
from moondev_ibkr.agents.llm.ladder import Ladder
from moondev_ibkr.agents.llm.openai_client import OpenAiClient
from moondev_ibkr.agents.llm.pool import Pool
from moondev_ibkr.agents.llm.request import Evidence, Request, Rung, StructuredAnswer
from moondev_ibkr.agents.llm.rules_backend import RulesBackend
from pydantic import Field

URL = os.environ.get("MOONDEV_LLAMA_SERVER", "")
MODEL = os.environ.get("MOONDEV_LLAMA_MODEL", "tiny.gguf")
SLOTS = 4
pytestmark = pytest.mark.skipif(not URL, reason="MOONDEV_LLAMA_SERVER names no llama-server")


class Glance(StructuredAnswer):
    """A short answer, which even a model of random weights can finish."""

    score: Annotated[int, Field(ge=0, le=100)]
    direction: Literal["up", "down", "unclear"]


EVIDENCE = tuple(Evidence(f"e{number}", f"measure {number} is {number * 1.5}", number * 1.5) for number in range(40))


def question(subject: str) -> Request[Glance]:
    return Request(
        system="You weigh evidence about a share and answer in JSON.",
        subject=subject,
        evidence=EVIDENCE,
        schema=Glance,
        deadline=120.0,
        max_tokens=200,
    )


@pytest.fixture
async def ladder() -> AsyncIterator[Ladder]:
    pool = Pool([OpenAiClient(URL, timeout=120.0)], slots=SLOTS)
    yield Ladder([Target(pool, MODEL)], RulesBackend({Glance: lambda evidence: Glance(score=1, direction="unclear")}))
    await pool.aclose()


async def test_every_answer_fits_the_schema_with_several_in_flight(ladder: Ladder) -> None:
    results = await asyncio.gather(*(ladder.complete_json(question(f"S{number}")) for number in range(2 * SLOTS)))
    assert {result.rung for result in results} <= {Rung.ASKED, Rung.RE_ASKED}
    assert all(0 <= result.answer.score <= 100 for result in results)


async def test_the_second_question_computes_only_its_end(ladder: Ladder) -> None:
    await ladder.complete_json(question("AAPL"))
    again = await ladder.complete_json(question("MSFT"))
    cached, whole = again.usage.cached_tokens, again.usage.prompt_tokens
    assert cached is not None
    assert whole is not None
    assert cached > 0.8 * whole, f"{cached} of {whole} prompt tokens were reused"
