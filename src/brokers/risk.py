"""The risk engine: every order passes an ordered list of named rules before it is journalled.

The policy is frozen and comes from the composition root; neither a caller, nor an agent, nor any text from outside can
raise a limit. Cancels never come here.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_FLOOR, Decimal

from .domain.order import NewOrder, Order
from .errors import RiskRefusal
from .risk_context import ZERO, Occasion, OrderContext, Refusal, same_contract
from .risk_policy import RiskPolicy
from .risk_rules import RULES, Rule
from .risk_view import DayStart, RiskView, loss_day

__all__ = [
    "RULES",
    "DayStart",
    "Occasion",
    "OrderContext",
    "Refusal",
    "RiskEngine",
    "RiskPolicy",
    "RiskView",
    "Rule",
    "loss_day",
    "same_contract",
]


class RiskEngine:
    """Runs `rules` in order over orders of one session. Synchronous and without I/O."""

    def __init__(self, policy: RiskPolicy, view: RiskView, rules: Sequence[Rule] = RULES) -> None:
        self._policy = policy
        self._view = view
        self._rules = tuple(rules)
        #: (occasion, whether it is an exit of the emergency stop) -> its rules
        self._asked = {
            (occasion, spared): [rule for rule in self._rules if _applies(rule, occasion, spared)]
            for occasion in Occasion
            for spared in (False, True)
        }

    @property
    def policy(self) -> RiskPolicy:
        return self._policy

    @property
    def view(self) -> RiskView:
        return self._view

    @property
    def rules(self) -> tuple[Rule, ...]:
        return self._rules

    def check(
        self,
        order: NewOrder,
        *,
        replaces: Order | None = None,
        parent: NewOrder | None = None,
        emergency: bool = False,
    ) -> None:
        """Pass, or raise the first refusal: RiskRefusal, NotOwned or TradingHalted.

        `replaces` is the working order that a modify would change, `order` then the whole intent as it would stand.
        `parent` is the entry whose bracket `order` belongs to: the leg is checked as if that had filled. `emergency`
        is for the exits of the emergency stop, which pass the kill switch and may close what is held by others too;
        it does nothing for an order that opens.
        """
        context = OrderContext(order, self._view, self._policy, replaces=replaces, parent=parent, emergency=emergency)
        found = self._first_refusal(context)
        if found is not None:
            self._refuse(context, *found)

    def occasion(self, order: NewOrder, *, replaces: Order | None = None) -> Occasion:
        """Whether the order opens or only reduces, as the rules would take it."""
        return OrderContext(order, self._view, self._policy, replaces=replaces).occasion

    def _first_refusal(self, context: OrderContext) -> tuple[Rule, Refusal] | None:
        spared = context.emergency and not context.occasion.opens
        for rule in self._asked[context.occasion, spared]:
            refusal = rule.check(context)
            if refusal is not None:
                return rule, refusal
        return None

    def _refuse(self, context: OrderContext, rule: Rule, refusal: Refusal) -> None:
        order = context.order
        what = f"{order.side} {order.quantity} {order.instrument} {order.type}"
        largest = None if refusal.fits is None else self._largest(context, refusal.fits)
        if refusal.error is RiskRefusal:
            raise RiskRefusal(
                what,
                refusal.why,
                refusal.next,
                rule=rule.name,
                value=refusal.value,
                limit=refusal.limit,
                largest=largest,
                symbol=order.instrument.symbol,
            )
        raise refusal.error(
            what,
            refusal.why,
            refusal.next,
            rule=rule.name,
            value=refusal.value,
            limit=refusal.limit,
            largest=largest,
            symbol=order.instrument.symbol,
        )

    def _largest(self, context: OrderContext, fits: Decimal) -> Decimal:
        """The largest quantity that every rule passes: each refusal of a candidate leads to a smaller one."""
        step = max(context.details.size_increment, Decimal(1)) if context.details is not None else Decimal(1)
        candidate = _whole(fits, step) + context.filled
        while candidate > context.filled:
            probe = context.with_quantity(candidate)
            found = self._first_refusal(probe)
            if found is None:
                return candidate
            rule, refusal = found
            if rule.name == "duplicate":
                candidate -= step
            elif refusal.fits is None:
                return ZERO
            else:
                candidate = min(_whole(refusal.fits, step) + context.filled, candidate - step)
        return ZERO


def _applies(rule: Rule, occasion: Occasion, spared: bool) -> bool:
    return occasion in rule.applies_to and (rule.emergency or not spared)


def _whole(quantity: Decimal, step: Decimal) -> Decimal:
    return max((quantity / step).to_integral_value(rounding=ROUND_FLOOR) * step, ZERO)
