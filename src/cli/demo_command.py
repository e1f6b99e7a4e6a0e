"""`moondev-ibkr demo failover`: an agent trades, its door dies with an order in flight, and the books are compared."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ..agents.trading.aegs_agent import AegsAgent, AegsSettings
from ..brokers.calendar import MarketCalendar
from ..brokers.domain.order_states import OrderState
from ..brokers.errors import DeadlineExceeded, InvalidRequest, MismatchDetected
from ..brokers.interactive_brokers.ib_adapter import IBAdapter
from ..config.settings import SIMULATION_PORT, Environment, FailoverMode, Settings, load_settings
from .boundary import FAILED, OK, print_json, run_async
from .doors_command import show_doors, status_json
from .gateway_process import GatewayProcess
from .opening import door_arguments, leading_to, log_to
from .options import ConfigOption, JsonOption
from .paper_account import PaperMarket
from .run_report import make_console
from .session_driver import ReplayDriver

#: A stretch of the shipped bars with entries before and after the fault.
FIRST_DAY = "2008-09-29"
SYMBOLS = ("AAPL", "MSFT", "IBM", "GOOG")
#: Real seconds for orders to go through the other door and be compared there; IB lets orders be read every 5 s.
PATIENCE = 60.0
#: Real seconds that the TWS door may be lost in the demo before orders move.
TAKE_OVER_AFTER = 1.0


class Story(StrEnum):
    FAILOVER = "failover"


class UsersChoice(StrEnum):
    ONE = "one"
    TWO = "two"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether exchange, journal and adapter agree, and where they do not. `orders` counts the exchange's by key."""

    differences: tuple[str, ...]
    positions: Mapping[str, str]
    orders: Mapping[str, int]
    fills: int


def demo(
    story: Annotated[Story, typer.Argument(help="failover: the TWS door dies with an order in flight.")],
    users: Annotated[
        UsersChoice, typer.Option("--users", help="two: the portal stands by; one: it takes the session.")
    ] = UsersChoice.TWO,
    cycles: Annotated[int, typer.Option("--cycles", help="Sessions to trade.")] = 6,
    fails_in: Annotated[int, typer.Option("--fails-in", help="The session whose first order meets the fault.")] = 2,
    config: ConfigOption = None,
    json_output: JsonOption = False,
) -> int:
    """Show a failover on the paper gateway: nothing is simulated but the broker."""
    if not 1 <= fails_in < cycles:
        raise InvalidRequest(
            f"--fails-in {fails_in}", f"there are {cycles} sessions, and some must follow", "choose an earlier one"
        )
    mode = FailoverMode.ONE_USER if users is UsersChoice.ONE else FailoverMode.TWO_USERS
    settings = load_settings(
        config, environment=Environment.SIMULATION, host="127.0.0.1", port=SIMULATION_PORT, gateways=()
    )
    settings = settings.model_copy(
        update={"failover": mode, "failover_after": TAKE_OVER_AFTER, "account": None, "market_data_lines": 100}
    )
    console = make_console(stderr=json_output)
    return run_async(fail_over(settings, cycles, fails_in, console, json_output), settings.performance)


async def fail_over(settings: Settings, cycles: int, fails_in: int, console: Console, as_json: bool) -> int:
    with tempfile.TemporaryDirectory(prefix="moondev-ibkr-") as name:
        folder = Path(name)
        options = [*door_arguments(settings), *PaperMarket(start=FIRST_DAY).arguments()]
        with log_to(folder, settings):
            async with GatewayProcess(options, folder) as gateway:
                own = leading_to(gateway.where, settings).model_copy(update={"state_dir": folder})
                async with IBAdapter.from_settings(own) as broker:
                    show = Show(gateway, broker, console)
                    await show.trade(cycles, fails_in)
                    verdict = await show.compare()
                    report(show, verdict, console, as_json)
                    return FAILED if verdict.differences else OK


class Show:
    """The agent's sessions with one failure in the middle."""

    def __init__(self, gateway: GatewayProcess, broker: IBAdapter, console: Console) -> None:
        self._gateway = gateway
        self.broker = broker
        self._console = console
        self.agent = AegsAgent(broker, list(SYMBOLS), AegsSettings())
        self._driver = ReplayDriver(gateway, broker, MarketCalendar())
        self.in_doubt: list[str] = []

    async def trade(self, cycles: int, fails_in: int) -> None:
        await self.agent.start()
        try:
            for number in range(1, cycles + 1):
                day = await self._driver.to_open()
                if day is None:
                    return
                if number == fails_in:
                    # the order's bytes arrive and are taken; its answer does not, and nobody is let in any more
                    await self._gateway.tell({"fault": "reset-after-order:transmitted"})
                    await self._gateway.tell({"fault": "eof-on-connect"})
                    self._say(f"{day.day}  the TWS door will die with the next order", "yellow")
                await self.agent.run_cycle()
                await self._settle()
                await self._driver.to_close(day)
                await self._settle()
                fills, pen = len(self.broker.fills()), self.broker.transport.name
                self._say(f"{day.day}  {fills} fills, {len(self.agent.holdings())} held, orders through {pen}")
        finally:
            await self.agent.stop()

    def _say(self, text: str, style: str = "") -> None:
        self._console.print(text, style=style or None)

    async def _settle(self) -> None:
        """Until orders can be placed again and none is in doubt. Raises DeadlineExceeded."""
        for doubt in self.broker.manager.doubts():
            self.in_doubt.append(doubt.order.key)
            self._say(f"  in doubt: {doubt.order.key}: {doubt.evidence}", "yellow")
        try:
            async with asyncio.timeout(PATIENCE):
                while not self.broker.health().can_trade or self.broker.manager.doubts():
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise DeadlineExceeded(
                "the change of doors",
                timedelta(seconds=PATIENCE),
                f"{self.broker.health().reason or 'an order is in doubt'}",
            ) from None

    async def compare(self) -> Verdict:
        """The exchange's own books against the journal and the adapter."""
        await self.broker.reconcile()
        books = await self._gateway.tell({"books": True})
        ((account, told),) = books["accounts"].items()
        truth = {symbol: Decimal(quantity) for symbol, quantity in told["positions"].items()}
        broker = self.broker
        seen = {row.instrument.symbol: row.quantity for row in await broker.positions(account) if row.quantity}
        booked: defaultdict[str, Decimal] = defaultdict(Decimal)
        for fill in broker.fills():
            booked[fill.instrument.symbol] += fill.quantity * fill.side.sign
        journal = {symbol: quantity for symbol, quantity in booked.items() if quantity}
        differences = []
        for name, found in (("adapter", seen), ("journal", journal)):
            if found != truth:
                differences.append(f"positions: the exchange says {truth}, the {name} {found}")
        orders = Counter(row["order_ref"] for row in books["orders"] if row["order_ref"])
        differences += [f"order {key} is at the exchange {count} times" for key, count in orders.items() if count > 1]
        known = {order.key for order in broker.orders()}
        differences += [f"order {key} is at the exchange and not in the journal" for key in orders.keys() - known]
        differences += self._filled_differences(books["orders"])
        broken = broker.journal.verify()
        if broken is not None:
            differences.append(f"the journal's chain is broken: {broken}")
        positions = {symbol: str(quantity) for symbol, quantity in truth.items()}
        return Verdict(tuple(differences), positions, orders, len(broker.fills()))

    def _filled_differences(self, rows: list[dict[str, Any]]) -> list[str]:
        ours = {order.key: order for order in self.broker.orders()}
        found = []
        for row in rows:
            order = ours.get(row["order_ref"])
            if order is not None and order.filled != Decimal(row["filled"]):
                found.append(f"order {order.key}: filled {row['filled']} at the exchange, {order.filled} here")
        unknown = [order.key for order in ours.values() if order.state is OrderState.UNKNOWN]
        return found + [f"order {key} is still UNKNOWN" for key in unknown]


def report(show: Show, verdict: Verdict, console: Console, as_json: bool) -> None:
    failover = show.broker.failover
    if failover is None:
        raise MismatchDetected("the demo", "it ran with one door")
    status, doubts = failover.status(), show.broker.manager.doubts()
    if as_json:
        print_json(
            {
                "equal": not verdict.differences,
                "differences": verdict.differences,
                "positions": verdict.positions,
                "orders": verdict.orders,
                "fills": verdict.fills,
                "was_in_doubt": show.in_doubt,
                "hand_overs": failover.pair.hand_overs,
                "status": status_json(status, doubts),
            }
        )
        return
    show_doors(status, doubts, console)
    for text in verdict.differences:
        console.print(f"[bold red]differs[/] {text}")
    if not verdict.differences:
        held = ", ".join(f"{quantity} {symbol}" for symbol, quantity in verdict.positions.items()) or "nothing"
        console.print(
            f"[bold green]equal[/] exchange, journal and adapter: {held}; {len(verdict.orders)} keys, "
            f"each with one order; {verdict.fills} fills, each booked once"
        )
