"""The floor of every ladder: an answer computed from the evidence alone, the same for the same evidence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...brokers.errors import NotSupported
from .request import Evidence, Request, Result, Rung, StructuredAnswer, T, Usage
from .validation import validated

#: From evidence by id to an answer. Pure: no clock, no chance, no input or output. Raises NoData when it cannot tell.
Rule = Callable[[Mapping[str, Evidence]], Any]


class RulesBackend:
    """One rule for each schema. `name` is the model's name in results; it changes when a rule does."""

    backend = "rules"

    def __init__(self, rules: Mapping[type[StructuredAnswer], Rule], *, name: str = "rules-1") -> None:
        self._rules, self.name = dict(rules), name

    async def complete_json(self, request: Request[T]) -> Result[T]:
        """Raises NotSupported without a rule for the schema, and what the rule raises."""
        return self.answer(request)

    def answer(self, request: Request[T]) -> Result[T]:
        """The same without an event loop."""
        rule = self._rules.get(request.schema)
        if rule is None:
            raise NotSupported(
                f"rules for {request.schema.__name__}", "there are none", "give the backend a rule for that schema"
            )
        made = rule({row.id: row for row in request.evidence})
        # What a model must keep to, rules keep to as well, however the answer was made.
        answer = validated(made.model_dump_json(), request)
        return Result(answer, Rung.RULES, self.backend, self.name, None, Usage())
