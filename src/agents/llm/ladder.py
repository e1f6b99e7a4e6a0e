"""The ladder: a model is asked, asked once more with what was wrong, then another host or model, and rules at the end.

Every rung's failure is kept in the result. Whatever happens, an answer was validated or it is an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ...brokers.errors import BrokerError
from .asking import Asked, Course, Target, Terms
from .chat_backend import Completion
from .model_client import Question
from .pool import is_about_the_host
from .prompts import schema_dict, schema_version, system_prompt, user_prompt, without_nonces
from .request import Failure, Request, Result, Rung, T
from .rules_backend import RulesBackend
from .troubles import FAULTS, Fault, Trouble, trouble_of
from .validation import validated

#: A rung takes at most this share of the time left while another one could still answer.
SHARE = 0.6


@dataclass(eq=False)
class _Climb:
    """One request on its way up: what failed, what may still be tried."""

    deadline: float
    failures: list[Failure] = field(default_factory=list)
    #: Hosts of the present model that failed.
    avoid: set[str] = field(default_factory=set)
    complaint: str | None = None
    re_asked: bool = False

    def rung(self, first_model: bool) -> Rung:
        if self.complaint is not None:
            return Rung.RE_ASKED
        if not first_model:
            return Rung.OTHER_MODEL
        return Rung.OTHER_HOST if self.avoid else Rung.ASKED


class Ladder:
    """`targets` are models in the order in which they are asked; without any, rules answer. `purpose` is written to
    the log. Implements JsonBackend; runs on the event loop of its pools."""

    def __init__(self, targets: Sequence[Target], rules: RulesBackend, *, purpose: str = "analysis") -> None:
        self.targets, self._rules, self._purpose = tuple(targets), rules, purpose

    async def complete_json(self, request: Request[T]) -> Result[T]:
        """An answer of the first rung that gives a valid one. Raises what rules raise when they cannot tell either;
        `data["failures"]` of that error then names the rungs that failed before."""
        climb = _Climb(asyncio.get_running_loop().time() + request.deadline)
        for number, target in enumerate(self.targets):
            climb.avoid, climb.complaint = set(), None
            result = await self._model(request, target, number, climb)
            if result is not None:
                return result
        try:
            result = self._rules.answer(request)
        except BrokerError as error:
            error.data = {**error.data, "failures": tuple(climb.failures)}
            raise
        return replace(result, failures=tuple(climb.failures), degraded=bool(climb.failures))

    async def _model(self, request: Request[T], target: Target, number: int, climb: _Climb) -> Result[T] | None:
        """The answer of one model, on whichever host; None when it has none."""
        while True:
            rung, course = climb.rung(number == 0), Course()
            last = number == len(self.targets) - 1
            try:
                asked = await self._ask(request, target, rung, climb, last=last, course=course)
            except BrokerError as error:
                trouble = trouble_of(error)
                host = None if course.host is None else course.host.client.url
                failure = Failure(rung, target.pool.backend, target.model, host, trouble, str(error))
                climb.failures.append(failure)
                if not _try_again(climb, target, host, error, trouble):
                    return None
                continue
            return Result(
                asked.value,
                rung,
                target.pool.backend,
                target.model,
                asked.host,
                asked.usage,
                tuple(climb.failures),
                cached=asked.completion is None,
            )

    async def _ask(
        self, request: Request[T], target: Target, rung: Rung, climb: _Climb, *, last: bool, course: Course
    ) -> Asked[T]:
        now = asyncio.get_running_loop().time()
        left = climb.deadline - now
        alone = last and len(target.pool.hosts) - len(climb.avoid) <= 1
        prompt = user_prompt(request, climb.complaint)
        question = Question(
            target.model,
            system_prompt(request),
            prompt,
            request.max_tokens,
            schema=schema_dict(request.schema),
            keyed_user=without_nonces(prompt, request.nonces) if request.nonces else None,
        )
        terms = Terms(
            self._purpose,
            rung,
            request.subject,
            now + (left if alone else left * SHARE),
            request.priority,
            frozenset(climb.avoid),
            schema_version(request.schema),
            may_cache=True,
        )

        def check(done: Completion) -> T:
            return validated(done.content, request)

        return await target.ask(question, terms, check, course)


def _try_again(climb: _Climb, target: Target, host: str | None, error: BrokerError, trouble: Trouble) -> bool:
    """Whether the same model is asked once more: with what was wrong, or on another host."""
    if climb.deadline <= asyncio.get_running_loop().time():
        return False
    if FAULTS[trouble] is Fault.ANSWER:
        if climb.re_asked:
            return False
        climb.re_asked, climb.complaint = True, f"{trouble.value.replace('_', ' ')}: {error.why}"
        return True
    if host is None or not (is_about_the_host(error) or trouble is Trouble.DEADLINE):
        return False
    climb.avoid.add(host)
    return len(climb.avoid) < len(target.pool.hosts)
