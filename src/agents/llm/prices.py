"""What a model's tokens cost: rows with the day from which they hold, ours or the user's own file of the same form."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ...brokers.errors import ConfigurationError
from .chat_backend import Completion

#: What comes after a model's name where one snapshot of it is meant.
_SNAPSHOT = re.compile(r"-\d{8}\Z")
_MILLION = Decimal(1_000_000)
Money = Annotated[Decimal, Field(ge=0, le=100_000)]


class PriceRow(BaseModel):
    """USD for a million tokens, by kind; `above` is the prompt's length in tokens from which the row holds."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    model: str
    since: Annotated[date, Field(alias="from")]
    above: Annotated[int, Field(ge=0)] = 0
    prompt: Money
    cached: Money
    cache_write: Money
    answer: Money

    def cost(self, prompt: int, answer: int, cached: int = 0, cache_written: int = 0) -> Decimal:
        """USD; `prompt` includes `cached` and `cache_written`."""
        plain = max(0, prompt - cached - cache_written)
        parts = plain * self.prompt + cached * self.cached + cache_written * self.cache_write + answer * self.answer
        return parts / _MILLION


class PriceTable:
    """Rows by model. Times are UTC days."""

    def __init__(self, rows: Iterable[PriceRow]) -> None:
        self._rows: dict[str, list[PriceRow]] = {}
        for row in rows:
            self._rows.setdefault(row.model, []).append(row)

    def row(self, model: str, day: date, prompt: int) -> PriceRow | None:
        """What holds on that day for a prompt of that many tokens; None when no price is known."""
        rows = self._rows.get(model) or self._rows.get(_SNAPSHOT.sub("", model)) or []
        fitting = [row for row in rows if row.since <= day and (row.above == 0 or row.above < prompt)]
        return max(fitting, key=lambda row: (row.since, row.above), default=None)

    def most(self, model: str, day: date, prompt: int, answer: int) -> Decimal | None:
        """More than a question of at most that many tokens costs; None when no price is known."""
        row = self.row(model, day, prompt)
        return None if row is None else row.cost(prompt, answer, cache_written=prompt)

    def cost(self, model: str, day: date, done: Completion) -> Decimal | None:
        """What an answer cost; None without a price or without the server's count."""
        if done.prompt_tokens is None or done.completion_tokens is None:
            return None
        row = self.row(model, day, done.prompt_tokens)
        if row is None:
            return None
        cached, written = done.cached_tokens or 0, done.cache_written_tokens or 0
        return row.cost(done.prompt_tokens, done.completion_tokens, cached, written)


def load_prices(file: Path | None = None) -> PriceTable:
    """Our rows, and those of `file`, which replace ours of the same model. Raises ConfigurationError."""
    ours = _rows(files(__package__).joinpath("prices.json").read_text(encoding="utf-8"), "our own")
    if file is None:
        return PriceTable(ours)
    try:
        theirs = _rows(file.read_text(encoding="utf-8"), str(file))
    except OSError as error:
        raise ConfigurationError(f"prices {file}", str(error.strerror), "give a readable file") from None
    named = {row.model for row in theirs}
    return PriceTable([*(row for row in ours if row.model not in named), *theirs])


def _rows(text: str, name: str) -> list[PriceRow]:
    try:
        return [PriceRow.model_validate(row) for row in json.loads(text)["rows"]]
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        first = str(error).splitlines()[0]
        raise ConfigurationError(f"prices {name}", first, "see docs/llm.md for the form") from None
