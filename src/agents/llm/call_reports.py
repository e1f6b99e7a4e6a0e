"""What the log of models tells: single questions, and sums by day and model. Costs are USD, times seconds."""

from __future__ import annotations

from statistics import median
from typing import Any

from .call_log import CallLog

#: Columns of a question that hold whole texts.
TEXTS = ("system", "prompt", "answer")

_QUESTIONS = """
    SELECT calls.id, asked_at, purpose, subject, rung, backend, model, host, digest, outcome, trouble, error,
           prompt_tokens, completion_tokens, cached_tokens, queued, seconds, server_seconds,
           cost_micros / 1e6 AS cost, prompts.text AS system, prompt, answer
    FROM calls LEFT JOIN prompts ON prompts.hash = calls.system_hash
    WHERE NOT :failed OR outcome NOT IN ('answered', 'cached')
    ORDER BY calls.id DESC LIMIT :last"""
_DAYS = "(SELECT DISTINCT day FROM calls ORDER BY day DESC LIMIT :days)"
_BY_MODEL = f"""
    SELECT day, backend, model, SUM(outcome != 'cached') AS asked, SUM(outcome = 'answered') AS answered,
           SUM(outcome = 'cached') AS cached, SUM(outcome NOT IN ('answered', 'cached')) AS failed,
           COALESCE(SUM(prompt_tokens), 0) AS prompt_tokens, COALESCE(SUM(completion_tokens), 0) AS completion_tokens,
           SUM(CASE WHEN writing_seconds > 0 THEN completion_tokens END) / SUM(writing_seconds) AS tokens_per_second,
           SUM(cost_micros) / 1e6 AS cost
    FROM calls WHERE day IN {_DAYS} GROUP BY day, backend, model ORDER BY day DESC, backend, model"""
_SECONDS = f"""
    SELECT day, backend, model, seconds FROM calls WHERE day IN {_DAYS} AND outcome = 'answered'"""
_TROUBLES = f"""
    SELECT trouble, COUNT(*) AS count FROM calls WHERE day IN {_DAYS} AND trouble IS NOT NULL
    GROUP BY trouble ORDER BY count DESC, trouble"""


def questions(calls: CallLog, last: int, *, failed: bool = False) -> list[dict[str, Any]]:
    """The newest first. Raises RequestFailed."""
    return calls.rows(_QUESTIONS, {"last": last, "failed": failed})


def by_model(calls: CallLog, days: int) -> list[dict[str, Any]]:
    """A row for each model of each of the last days on which one was asked. `median_seconds` and `tokens_per_second`
    are None where nothing tells them. Raises RequestFailed."""
    times: dict[tuple[str, str, str], list[float]] = {}
    for row in calls.rows(_SECONDS, {"days": days}):
        times.setdefault((row["day"], row["backend"], row["model"]), []).append(row["seconds"])
    rows = calls.rows(_BY_MODEL, {"days": days})
    for row in rows:
        own = times.get((row["day"], row["backend"], row["model"]))
        row["median_seconds"] = median(own) if own else None
    return rows


def troubles(calls: CallLog, days: int) -> list[dict[str, Any]]:
    """How often what went wrong on those days, the most frequent first. Raises RequestFailed."""
    return calls.rows(_TROUBLES, {"days": days})
