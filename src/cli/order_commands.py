"""Commands that change something: buy, sell, cancel, flatten, kill, resume, adopt."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from ..brokers.base_broker import StopReport
from ..brokers.calendar import MarketCalendar
from ..brokers.domain.instrument import Instrument
from ..brokers.domain.order import Bracket, NewOrder, Order, OrderType, Side, TimeInForce, new_key
from ..brokers.domain.order_states import OrderState
from ..brokers.errors import BrokerError, DeadlineExceeded, InvalidOrder, LinkError, OrderRejected
from ..brokers.journal import Journal
from ..brokers.smart_orders import SmartOrderPolicy, priced
from .boundary import FAILED, OK, print_json
from .opening import Opening, settings_for, state_folder, with_broker
from .options import (
    BarsOption,
    BrokerChoice,
    BrokerOption,
    ConfigOption,
    FreshOption,
    JsonOption,
    LiveOption,
    SeedOption,
    StartOption,
)
from .paper_account import JOURNAL_FILE, asked_market
from .run_report import make_console, order_json, order_text, position_json

if TYPE_CHECKING:
    from ..brokers.interactive_brokers.ib_adapter import IBAdapter

#: Real seconds that buy and sell wait for a fill before they report the order as working.
FILL_WAIT = 3.0
#: Larger quantities and prices are slips of the hand.
LARGEST_NUMBER = Decimal(10**9)

Quantity = Annotated[str, typer.Argument(help="Shares, a whole number above zero.")]
Symbols = Annotated[str, typer.Argument(help="Ticker, e.g. AAPL or BRK.B.")]
TypeOption = Annotated[OrderType | None, typer.Option("--type", help="Order type; without one: a limit at the touch.")]
LimitOption = Annotated[str | None, typer.Option("--limit", help="Limit price.")]
StopOption = Annotated[str | None, typer.Option("--stop", help="Stop price (STP, STP_LMT, TRAIL).")]
TrailOption = Annotated[str | None, typer.Option("--trail", help="Trailing amount, or percent with a % sign.")]
TifOption = Annotated[TimeInForce, typer.Option("--tif", help="Time in force.")]
ProtectOption = Annotated[str | None, typer.Option("--protect", help="Protective stop price: makes it a bracket.")]
TargetOption = Annotated[str | None, typer.Option("--target", help="Target price of the bracket.")]
GoodTillOption = Annotated[
    str | None,
    typer.Option("--good-till", help="With --tif GTD: YYYY-MM-DD (its close), or an ISO 8601 time."),
]
OutsideOption = Annotated[bool, typer.Option("--outside-rth", help="May fill in extended hours.")]
MarketOption = Annotated[bool, typer.Option("--market", help="Same as --type MKT: no protection against slippage.")]
KeyOption = Annotated[
    str | None, typer.Option("--key", help="The order's own key: the same key is never placed twice.")
]
AccountOption = Annotated[str | None, typer.Option("--account", help="Account, where the session has several.")]


def buy(
    symbol: Symbols,
    quantity: Quantity,
    type: TypeOption = None,
    limit: LimitOption = None,
    stop: StopOption = None,
    trail: TrailOption = None,
    tif: TifOption = TimeInForce.DAY,
    good_till: GoodTillOption = None,
    protect: ProtectOption = None,
    target: TargetOption = None,
    outside_rth: OutsideOption = False,
    market: MarketOption = False,
    key: KeyOption = None,
    account: AccountOption = None,
    broker: BrokerOption = BrokerChoice.PAPER,
    bars: BarsOption = None,
    start: StartOption = None,
    seed: SeedOption = 0,
    fresh: FreshOption = False,
    config: ConfigOption = None,
    i_understand_live: LiveOption = False,
    json_output: JsonOption = False,
) -> int:
    """Buy shares. Without --type or --limit: a limit at the touch, inside a slippage cap."""
    order = build_order(Side.BUY, symbol, quantity, type, limit, stop, trail, tif, good_till, outside_rth, key, account)
    intent: NewOrder | Bracket = order
    if protect is not None:
        intent = Bracket(order, _number(protect, "--protect"), None if target is None else _number(target, "--target"))
    elif target is not None:
        raise InvalidOrder(f"BUY {symbol}", "--target goes with --protect", "give a protective stop too")
    opening = Opening(broker, config, i_understand_live, asked_market(bars, start, seed), fresh)
    return _place(intent, _pricing(market, type, limit), opening, json_output)


def sell(
    symbol: Symbols,
    quantity: Quantity,
    type: TypeOption = None,
    limit: LimitOption = None,
    stop: StopOption = None,
    trail: TrailOption = None,
    tif: TifOption = TimeInForce.DAY,
    good_till: GoodTillOption = None,
    outside_rth: OutsideOption = False,
    market: MarketOption = False,
    key: KeyOption = None,
    account: AccountOption = None,
    broker: BrokerOption = BrokerChoice.PAPER,
    bars: BarsOption = None,
    start: StartOption = None,
    seed: SeedOption = 0,
    fresh: FreshOption = False,
    config: ConfigOption = None,
    i_understand_live: LiveOption = False,
    json_output: JsonOption = False,
) -> int:
    """Sell shares that this journal owns. Without --type or --limit: a limit at the touch."""
    order = build_order(
        Side.SELL, symbol, quantity, type, limit, stop, trail, tif, good_till, outside_rth, key, account
    )
    opening = Opening(broker, config, i_understand_live, asked_market(bars, start, seed), fresh)
    return _place(order, _pricing(market, type, limit), opening, json_output)


def cancel(
    key: Annotated[str, typer.Argument(help="The order's key, or `all` for every working order of this journal.")],
    broker: BrokerOption = BrokerChoice.PAPER,
    config: ConfigOption = None,
    i_understand_live: LiveOption = False,
    json_output: JsonOption = False,
) -> int:
    """Cancel an order. A cancel is never refused by us."""

    async def work(session: IBAdapter) -> int:
        keys = [order.key for order in session.open_orders() if not order.foreign] if key == "all" else [key]
        for one in keys:
            await session.cancel(one)
        ended = [await _settled(session, one) for one in keys]
        _show_orders(ended, json_output)
        return OK if all(order.is_terminal for order in ended) else FAILED

    return with_broker(Opening(broker, config, i_understand_live), work)


def flatten(
    symbol: Annotated[str | None, typer.Argument(help="One symbol; without it everything that is owned.")] = None,
    broker: BrokerOption = BrokerChoice.PAPER,
    config: ConfigOption = None,
    i_understand_live: LiveOption = False,
    json_output: JsonOption = False,
) -> int:
    """Cancel the working orders and close the owned position of a symbol, or of every symbol."""

    async def work(session: IBAdapter) -> int:
        orders = await session.flatten(symbol)
        ended = [await _settled(session, order.key) for order in orders]
        _show_orders(ended, json_output)
        return OK if all(order.state is OrderState.FILLED for order in ended) else FAILED

    return with_broker(Opening(broker, config, i_understand_live), work)


def kill(
    reason: Annotated[str, typer.Option("--reason", help="Kept in the journal.")] = "command line",
    keep_positions: Annotated[bool, typer.Option("--keep-positions", help="Cancel only, close nothing.")] = False,
    everything: Annotated[
        bool, typer.Option("--everything", help="FOREIGN orders and positions too; asks twice.")
    ] = False,
    broker: BrokerOption = BrokerChoice.PAPER,
    config: ConfigOption = None,
    i_understand_live: LiveOption = False,
    json_output: JsonOption = False,
) -> int:
    """Emergency stop: refuse new orders, cancel, close, verify. It survives restarts; `resume` lifts it."""
    if everything:
        typer.confirm("This also cancels orders and closes positions that agents did not open. Go on?", abort=True)
        typer.confirm("Everything in the account will be sold. Are you sure?", abort=True)

    opening = Opening(broker, config, i_understand_live)

    async def work(session: IBAdapter) -> int:
        report = await session.emergency_stop(reason, close=not keep_positions, everything=everything)
        _show_stop(report, json_output)
        return FAILED if report.still_working or (report.not_flat and not keep_positions) else OK

    try:
        return with_broker(opening, work)
    except LinkError as error:
        _halt_journal(opening, reason)
        step = "new orders are refused from now on, but nothing was cancelled or closed: run kill again"
        raise BrokerError(error.what, error.why, step, halted=True) from error


def _halt_journal(opening: Opening, reason: str) -> None:
    """What the emergency stop can do without the broker: no process of this journal places another order."""
    settings = settings_for(opening)
    journal = Journal(state_folder(settings) / JOURNAL_FILE, synchronous=settings.journal_synchronous)
    try:
        journal.halt(reason)
    finally:
        journal.close()


def resume(
    broker: BrokerOption = BrokerChoice.PAPER,
    config: ConfigOption = None,
    i_understand_live: LiveOption = False,
    json_output: JsonOption = False,
) -> int:
    """Lift the emergency stop."""

    async def work(session: IBAdapter) -> int:
        await session.resume()
        if json_output:
            print_json({"halted": False})
        else:
            make_console().print("new orders are accepted again")
        return OK

    return with_broker(Opening(broker, config, i_understand_live), work)


def adopt(
    symbol: Symbols,
    broker: BrokerOption = BrokerChoice.PAPER,
    config: ConfigOption = None,
    i_understand_live: LiveOption = False,
    json_output: JsonOption = False,
) -> int:
    """Take over the FOREIGN orders and position of a symbol, so that agents may sell and cancel them."""

    async def work(session: IBAdapter) -> int:
        adopted = await session.adopt(symbol)
        _show_orders(adopted, json_output)
        return OK

    return with_broker(Opening(broker, config, i_understand_live), work)


def build_order(
    side: Side,
    symbol: str,
    quantity: str,
    type: OrderType | None,
    limit: str | None,
    stop: str | None,
    trail: str | None,
    tif: TimeInForce,
    good_till: str | None,
    outside_rth: bool,
    key: str | None,
    account: str | None,
) -> NewOrder:
    """The order that the options describe. Raises InvalidOrder or InvalidInstrument, naming the option."""

    if type is None:
        type = OrderType.LIMIT if limit is not None else OrderType.MARKET
    percent = trail is not None and trail.endswith("%")
    trailing = None if trail is None else _number(trail.removesuffix("%"), "--trail")
    return NewOrder(
        Instrument(symbol),
        side,
        _number(quantity, "quantity"),
        type,
        limit_price=None if limit is None else _number(limit, "--limit"),
        stop_price=None if stop is None else _number(stop, "--stop"),
        trail_amount=None if percent else trailing,
        trail_percent=trailing if percent else None,
        tif=tif,
        good_till=None if good_till is None else _end_of(good_till),
        outside_rth=outside_rth,
        account=account,
        key=key or new_key(),
        reason="command line",
    )


def _pricing(market: bool, type: OrderType | None, limit: str | None) -> SmartOrderPolicy:
    """How an order without a price is priced. Raises InvalidOrder when the options contradict each other."""
    if market and (limit is not None or type not in (None, OrderType.MARKET)):
        raise InvalidOrder("--market", "a market order takes no other type and no limit", "leave one of them out")
    return SmartOrderPolicy(allow_market=market or type is OrderType.MARKET)


def _place(intent: NewOrder | Bracket, policy: SmartOrderPolicy, opening: Opening, as_json: bool) -> int:
    async def work(session: IBAdapter) -> int:
        order = await _settled(session, (await _send(session, intent, policy)).key)
        if order.state is OrderState.REJECTED:
            raise OrderRejected(f"order {order.key}", order.reason)
        _show_orders([order, *(leg for leg in session.orders() if leg.parent_key == order.key)], as_json)
        return OK if order.state is not OrderState.UNKNOWN else FAILED

    return with_broker(opening, work)


async def _send(session: IBAdapter, intent: NewOrder | Bracket, policy: SmartOrderPolicy) -> Order:
    if isinstance(intent, NewOrder):
        return await session.place_smart_order(intent, policy)
    entry = intent.entry
    if entry.type is OrderType.MARKET and not policy.allow_market:
        entry = priced(entry, await session.quote(entry.instrument), await session.details(entry.instrument), policy)
    return await session.place(replace(intent, entry=entry))


async def _settled(session: IBAdapter, key: str) -> Order:
    """The order once done, or as it stands after a short wait."""
    try:
        return await session.wait(key, FILL_WAIT)
    except DeadlineExceeded:
        return session.order(key)


def _number(text: str, name: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise InvalidOrder(f"{name} {text!r}", "it is not a number", "write it like 12 or 12.34") from None
    if number.is_finite() and abs(number) > LARGEST_NUMBER:
        raise InvalidOrder(f"{name} {text!r}", "it is beyond every amount that is traded", "write it like 12 or 12.34")
    return number


def _end_of(text: str) -> datetime:
    """The moment that --good-till names; a day alone means its regular close."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidOrder(f"--good-till {text!r}", "it is not a time", "write YYYY-MM-DD") from None
    if moment.tzinfo is not None:
        return moment.astimezone(UTC)
    day = MarketCalendar().trading_day(moment.date())
    if len(text) > 10 or day is None:
        why = "it carries no zone" if len(text) > 10 else "the market is closed that day"
        raise InvalidOrder(f"--good-till {text!r}", why, "write a trading day, or 2026-04-15T19:00:00Z")
    return day.close


def _show_orders(orders: list[Order], as_json: bool) -> None:
    if as_json:
        print_json({"orders": [order_json(order) for order in orders]})
        return
    console = make_console()
    for order in orders:
        done = f" at {order.average_price:.4f}" if order.average_price is not None else ""
        text = Text.assemble(
            (order.state, "bold"),
            f" {order_text(order)}  filled {order.filled.normalize():f}{done}  key {order.key}  {order.reason}",
        )
        console.print(text)
    if not orders:
        console.print("no orders")


def _show_stop(report: StopReport, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "at": report.at,
                "reason": report.reason,
                "cancelled": report.cancelled,
                "still_working": report.still_working,
                "closing": report.closing,
                "not_flat": [position_json(position) for position in report.not_flat],
                "refused_after_seconds": report.refused_after,
            }
        )
        return
    console = make_console()
    console.print(f"new orders refused after {report.refused_after * 1000:.1f} ms")
    console.print(
        f"cancelled {len(report.cancelled)} orders, still working {len(report.still_working)}, "
        f"positions closed {len(report.closing)}"
    )
    for position in report.not_flat:
        console.print(f"[bold red]NOT FLAT[/] {position.quantity} {position.instrument} in {position.account}")
    if not report.not_flat:
        console.print("[bold green]verified flat[/]")
