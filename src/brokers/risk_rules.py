"""The rules of risk, in the order in which they are asked, and what each applies to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from . import risk_market_rules as market
from . import risk_order_rules as order
from . import risk_size_rules as size
from .risk_context import Occasion, OrderContext, Refusal

RuleFunction = Callable[[OrderContext], Refusal | None]

EVERY = frozenset(Occasion)
OPENING = frozenset({Occasion.ENTRY, Occasion.ENTRY_CHANGE})
#: New orders of either kind; a change adds no order.
ADDING = frozenset({Occasion.ENTRY, Occasion.EXIT})
#: All but a new exit: refusing a change leaves the working exit in place, so that nothing is trapped.
BUT_EXIT = frozenset({Occasion.ENTRY, Occasion.ENTRY_CHANGE, Occasion.EXIT_CHANGE})
NEW_ENTRY = frozenset({Occasion.ENTRY})


@dataclass(frozen=True, slots=True)
class Rule:
    """A named rule and the occasions that it applies to. `emergency` False: an emergency exit skips it."""

    name: str
    check: RuleFunction
    applies_to: frozenset[Occasion]
    about: str
    emergency: bool = True


#: Asked from top to bottom; the first refusal is the answer. Exits skip what would trap a position.
RULES: tuple[Rule, ...] = (
    Rule("kill_switch", order.kill_switch, EVERY, "nothing but cancels while trading is halted", emergency=False),
    Rule("read_only", order.read_only, EVERY, "read-only mode sends no orders"),
    Rule("tradable", order.tradable, EVERY, "US stocks and ETFs only"),
    Rule("contract_known", order.contract_known, EVERY, "price and size rules of the contract must be known"),
    Rule("filled_already", order.filled_already, EVERY, "a change may not go below what is filled"),
    Rule("whole_shares", order.whole_shares, EVERY, "whole shares only"),
    Rule("lot_size", order.lot_size, EVERY, "the contract's size increment and least size"),
    Rule("tick_size", order.tick_size, EVERY, "prices on the contract's tick grid"),
    Rule("ownership", order.ownership, EVERY, "only what this journal opened is sold or covered"),
    Rule("long_only", order.long_only, OPENING, "no sell above position less working sells, unless shorting is on"),
    Rule("through_zero", order.through_zero, OPENING, "crossing zero takes two orders"),
    Rule("reduce_only", order.reduce_only, OPENING, "a reduce-only order really reduces"),
    Rule("shortable", order.shortable, OPENING, "a short needs shares to borrow"),
    Rule("restricted", order.restricted, OPENING, "names on the restricted list are not opened"),
    Rule("in_doubt", order.in_doubt, OPENING, "nothing is opened while an order in the symbol is UNKNOWN"),
    Rule("halted", market.halted, OPENING, "nothing is opened while the symbol is halted"),
    Rule("outside_hours", market.outside_hours, EVERY, "limit orders only outside regular hours", emergency=False),
    Rule("open_blackout", market.open_blackout, OPENING, "nothing is opened in the first seconds after the open"),
    Rule("suspect_quote", market.suspect_quote, EVERY, "no market order while two sources disagree", emergency=False),
    Rule("fresh_quote", market.fresh_quote, OPENING, "a fresh, live, two-sided quote"),
    Rule("stop_side", market.stop_side, EVERY, "a stop may not trigger at once"),
    Rule("collar", market.collar, EVERY, "prices stay near the quote"),
    Rule("duplicate", market.duplicate, NEW_ENTRY, "no identical order within seconds"),
    Rule("repeated_entry", market.repeated_entry, NEW_ENTRY, "one entry of a contract and side in a while"),
    Rule("self_cross", market.self_cross, EVERY, "no trade with our own orders", emergency=False),
    Rule("open_orders_per_side", market.open_orders_per_side, ADDING, "working orders of one contract and side"),
    Rule("orders_per_minute", market.orders_per_minute, BUT_EXIT, "orders and changes in 60 seconds"),
    Rule("orders_per_day", market.orders_per_day, BUT_EXIT, "orders and changes since 00:00 ET"),
    Rule("daily_loss", size.daily_loss, OPENING, "nothing is opened after the day's loss limit"),
    Rule("day_trades", size.day_trades, OPENING, "day trades left, where the broker counts them"),
    Rule("order_quantity", size.order_quantity, OPENING, "shares of one order"),
    Rule("order_value", size.order_value, OPENING, "USD of one order"),
    Rule("order_equity", size.order_equity, OPENING, "one order is worth no more than the account"),
    Rule("position_value", size.position_value, OPENING, "USD of one position with all that works"),
    Rule("symbol_limit", size.symbol_limit, OPENING, "USD of one position where the symbol has its own limit"),
    Rule("concentration", size.concentration, OPENING, "share of net liquidation in one position"),
    Rule("exposure", size.exposure, OPENING, "USD of all positions with all that works"),
    Rule("settled_cash", size.settled_cash, OPENING, "cash accounts buy with settled cash"),
)
