"""The one place where a model's text becomes an answer: whole JSON of the schema, in range, about evidence that exists.

Nothing is coerced, clamped or searched for inside a sentence. A refusal says why in words that a model can act on, and
never repeats the text that was refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from ...brokers.errors import RequestFailed
from .request import Request, T
from .troubles import Trouble, failed

#: A longer answer is no answer, in characters.
LONGEST_ANSWER = 64_000
_FENCED = re.compile(r"```(?:json)?[ \t]*\r?\n(.*)\r?\n```\Z", re.DOTALL)
_RANGE = frozenset({"greater_than", "greater_than_equal", "less_than", "less_than_equal"})


def validated(text: str, request: Request[T]) -> T:
    """The answer. One code fence around all of it is taken off. Raises RequestFailed with `data["trouble"]`."""
    stripped = text.strip()
    fenced = _FENCED.match(stripped)
    body = fenced[1] if fenced else stripped
    _refuse_ambiguous(body, request)
    try:
        answer = request.schema.model_validate_json(body, strict=True)
    except ValidationError as error:
        rows = error.errors(include_url=False, include_input=False, include_context=False)
        in_range = not any(row["type"] in _RANGE for row in rows)
        trouble = Trouble.WRONG_SHAPE if in_range else Trouble.OUT_OF_RANGE
        raise _refusal(request, trouble, _words(rows)) from None
    unknown = sorted(set(answer.cited()) - request.evidence_ids)
    if unknown:
        raise _refusal(request, Trouble.WRONG_EVIDENCE, f"{len(unknown)} of its evidence ids were not in the question")
    return answer


def _refuse_ambiguous(body: str, request: Request[T]) -> None:
    """What is no single JSON object, or says one thing twice."""
    if len(body) > LONGEST_ANSWER:
        raise _refusal(request, Trouble.INVALID_JSON, f"it is longer than {LONGEST_ANSWER} characters")
    try:
        parsed = json.loads(body, object_pairs_hook=_once, parse_constant=_no_constant)
    except _Twice:
        raise _refusal(request, Trouble.INVALID_JSON, "a name stands in it twice") from None
    except (ValueError, RecursionError):
        raise _refusal(request, Trouble.INVALID_JSON, "it is not one JSON object and nothing else") from None
    if not isinstance(parsed, dict):
        raise _refusal(request, Trouble.INVALID_JSON, "it is not a JSON object")


class _Twice(Exception):
    """A name that stands twice in one object."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Twice
    return found


def _no_constant(name: str) -> float:
    raise ValueError(name)


def _words(rows: list[Any]) -> str:
    """The first three problems, by field and rule; names that the model invented are left out."""
    told = [_problem(row) for row in rows[:3]]
    more = f"; and {len(rows) - 3} more" if len(rows) > 3 else ""
    return "; ".join(told) + more


def _problem(row: Mapping[str, Any]) -> str:
    if row["type"] == "extra_forbidden":
        return "a field that the schema does not have"
    where = ".".join(str(part) for part in row["loc"]) or "answer"
    return f"{where}: {row['msg']}"[:120]


def _refusal(request: Request[T], trouble: Trouble, why: str) -> RequestFailed:
    return failed(trouble, f"answer about {request.subject}", why, "it is not used; ask again or another model")
