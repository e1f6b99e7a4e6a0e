"""`moondev-ibkr gateway`: the paper gateway as a server of its own."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated

import typer

from ..brokers.costs import Plan
from ..brokers.errors import ConfigurationError
from ..brokers.simulation.commissions import PriceList
from ..brokers.simulation.control import obey_all
from ..brokers.simulation.gateway import Gateway
from ..brokers.simulation.gateway_settings import ClockMode, GatewaySettings
from ..brokers.simulation.mixed import MixedPrices
from ..brokers.simulation.models import AccountSettings, ExchangeSettings
from ..brokers.simulation.portal.settings import PortalSettings
from ..brokers.simulation.prices import Others, PriceKind
from ..brokers.simulation.tws.pacing import MESSAGES_PER_SECOND
from ..brokers.simulation.tws.settings import FundamentalService, TwsSettings
from ..config.logging import setup_logging
from ..config.settings import SIMULATION_PORT, Environment, Settings, load_settings
from .boundary import print_json, run_async
from .opening import state_folder
from .options import ConfigOption, JsonOption, parse_day, parse_symbols
from .paper_account import ACCOUNT_FILE, READY_FILE, PaperMarket, open_account, serving
from .portal_options import DEFAULTS, oauth_consumers, portal_port, portal_values

log = logging.getLogger(__name__)

#: Market time between the open and the first client, so that nobody meets one-sided quotes.
SETTLE = timedelta(minutes=1)
LOOPBACK = ("127.0.0.0/8", "::1/128")


def gateway(
    tws_port: Annotated[int, typer.Option("--tws-port", help="Port of the TWS door; 0 picks a free one.")] = 14002,
    portal_port_text: Annotated[
        str | None,
        typer.Option(
            "--portal-port",
            metavar="PORT",
            help="Port of the Client Portal door, 15000 by default; 0 picks a free one, off closes it.",
        ),
    ] = None,
    portal_user: Annotated[str, typer.Option("--portal-user", help="User name that the portal logs in with.")] = (
        DEFAULTS.user
    ),
    tws_user: Annotated[
        str,
        typer.Option("--tws-user", help="User name of the TWS door; the portal's own: both compete for one session."),
    ] = DEFAULTS.tws_user,
    portal: Annotated[
        list[str] | None,
        typer.Option("--portal", metavar="KEY=VALUE", help="A setting of the portal, see docs/gateway.md; repeatable."),
    ] = None,
    oauth_folder: Annotated[
        Path | None,
        typer.Option(
            "--oauth-folder",
            help="Keys of an OAuth consumer of the portal; made there if there are none (docs/oauth.md).",
        ),
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    allow: Annotated[
        list[str] | None, typer.Option("--allow", help="Network that may connect, e.g. 10.0.0.0/8; repeatable.")
    ] = None,
    bars: Annotated[
        list[Path] | None, typer.Option("--bars", help="OHLCV files or folders to replay; repeatable.")
    ] = None,
    prices: Annotated[
        PriceKind | None, typer.Option("--prices", help="Shipped bars, files (with --bars), or synthetic.")
    ] = None,
    symbols: Annotated[str, typer.Option("--symbols", help="Comma-separated; default: all that there are.")] = "",
    others: Annotated[
        Others,
        typer.Option(
            "--others",
            help="What becomes of those --symbols that have no bars: refused, or synthetic: invented prices, for US "
            "tickers alone, beside the bars and in the same days. At the start it prints which ones these are.",
        ),
    ] = Others.REFUSED,
    start: Annotated[str | None, typer.Option("--start", help="First day of the replay, YYYY-MM-DD.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Same seed and inputs, same bytes.")] = 0,
    speed: Annotated[
        float, typer.Option("--speed", help="Market seconds per real second; 0: as fast as clients read.")
    ] = 1.0,
    clock: Annotated[ClockMode, typer.Option("--clock", help="Replay, or the wall's time.")] = ClockMode.REPLAY,
    control: Annotated[
        str,
        typer.Option(
            "--control",
            help="stdio: market time moves by JSON lines only; end: it runs by itself. Both end with the input.",
        ),
    ] = "",
    ready_file: Annotated[
        Path | None, typer.Option("--ready-file", help="Gets one JSON object once the doors listen.")
    ] = None,
    state: Annotated[Path | None, typer.Option("--state", help="File that keeps the paper account.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget the kept account.")] = False,
    cash: Annotated[str, typer.Option("--cash", help="USD that a new account starts with.")] = "100000",
    message_rate: Annotated[
        int, typer.Option("--message-rate", help="Messages a second per client; 0: no limit.")
    ] = MESSAGES_PER_SECOND,
    history_seconds: Annotated[
        float,
        typer.Option("--history-seconds", help="Real seconds until historical bars are answered; IB: 0.2 to 0.6."),
    ] = 0.0,
    fundamentals: Annotated[
        FundamentalService,
        typer.Option("--fundamentals", help="Fundamental reports: IB's gateways serve none from TWS API 10.47 on."),
    ] = FundamentalService.SERVED,
    read_only: Annotated[bool, typer.Option("--read-only", help="Refuse orders, as TWS's Read-Only API.")] = False,
    fault: Annotated[
        list[str] | None, typer.Option("--fault", help="NAME[:ARG…]; repeatable. NAME 'list' prints them.")
    ] = None,
    config: ConfigOption = None,
    json_output: JsonOption = False,
) -> int:
    """Run the paper gateway: any TWS API or Client Portal client can connect and trade, with no account.

    Without --state, --ready-file and --control it serves the paper account of the state folder, and the other commands
    join it; with one of them it stands alone.
    """
    if fault and "list" in fault:
        _list_faults(json_output)
        return 0
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    general = load_settings(
        config, environment=Environment.SIMULATION, host="127.0.0.1", port=SIMULATION_PORT, gateways=()
    )
    setup_logging(general)
    chosen = GatewaySettings(
        tws=TwsSettings(
            host=host,
            port=_port(tws_port),
            allowed=_networks(allow or (), general),
            message_rate=message_rate,
            history_seconds=history_seconds,
            fundamentals=fundamentals,
            read_only=read_only,
        ),
        portal=PortalSettings(
            host=host,
            port=portal_port(portal_port_text, tws_port),
            allowed=_networks(allow or (), general),
            user=portal_user,
            tws_user=tws_user,
            oauth_consumers=oauth_consumers(oauth_folder, portal_user),
            **portal_values(portal or ()),
        ),
        exchange=ExchangeSettings(seed=seed, accounts=(AccountSettings(cash=_amount(cash)),)),
        clock=_clock(clock, control),
        speed=speed,
        price_kind=prices,
        bars=tuple(bars or ()),
        symbols=parse_symbols(symbols),
        others=others,
        start=parse_day(start),
        settle=SETTLE,
        state_file=state,
        fresh=fresh,
        ready_file=ready_file,
        faults=tuple(fault or ()),
    )
    commissions = PriceList(Plan(general.commission_plan))
    if control or ready_file is not None or state is not None:
        run_async(_serve(chosen, commissions, control=bool(control)))
    else:
        _serve_account(chosen, commissions, general)
    return 0


def _serve_account(chosen: GatewaySettings, commissions: PriceList, general: Settings) -> None:
    """Serve the account of the state folder, where the other commands find it; while another does, stand alone."""
    folder = state_folder(general)
    with serving(folder) as free:
        if not free:
            print(f"the paper account in {folder} is served already: this gateway has one of its own", file=sys.stderr)
            run_async(_serve(chosen, commissions))
            return
        asked = PaperMarket(
            bars=tuple(str(path.absolute()) for path in chosen.bars),
            symbols=chosen.symbols,
            others=chosen.others if chosen.others is not Others.REFUSED else "",
            prices=chosen.price_kind or "",
            clock=chosen.clock,
            start=chosen.start.isoformat() if chosen.start else "",
            seed=chosen.exchange.seed,
        )
        market, new = open_account(folder, None if asked == PaperMarket() else asked, fresh=chosen.fresh)
        kept = replace(
            chosen,
            bars=tuple(map(Path, market.bars)),
            symbols=market.symbols,
            others=Others(market.others or Others.REFUSED),
            price_kind=PriceKind(market.prices) if market.prices else None,
            clock=ClockMode(market.clock),
            start=parse_day(market.start) if new and market.start else None,
            exchange=replace(chosen.exchange, seed=market.seed),
            state_file=folder / ACCOUNT_FILE,
            fresh=new,
            ready_file=folder / READY_FILE,
        )
        run_async(_serve(kept, commissions))


async def _serve(settings: GatewaySettings, commissions: PriceList, *, control: bool = False) -> None:
    async with Gateway(settings, commissions=commissions) as running:
        _stop_on_signals(running)
        portal = running.doors.portal
        log.info("the TWS door listens on %s:%d", running.server.host, running.tws_port)
        if not settings.tws.allowed and settings.tws.host not in ("127.0.0.1", "::1", "localhost"):
            log.warning("everybody who reaches %s may trade here; --allow names who may", settings.tws.host)
        driver = asyncio.create_task(obey_all(running, _lines(), _reply)) if control else None
        if isinstance(running.prices, MixedPrices):
            for note in running.prices.listing.notes():
                print(f"paper gateway: {note}", file=sys.stderr)
        if settings.clock is not ClockMode.CONTROL:
            print(
                f"paper gateway: TWS API on {running.server.host}:{running.tws_port}, "
                f"{f'Client Portal on {portal.url}, ' if portal is not None else ''}"
                f"account {', '.join(running.exchange.accounts)}, market time {running.now:%Y-%m-%d %H:%M} UTC",
                file=sys.stderr,
            )
        await running.run()
        if driver is not None:
            driver.cancel()


def _leave(number: int, frame: object) -> None:
    """Asked to end before it listens: nothing has to be tidied up."""
    raise SystemExit(0)


def _reply(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


async def _lines() -> AsyncIterator[str]:
    """Lines of standard input; a thread reads them, since not every system can wait for a pipe."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[str | None] = asyncio.Queue()

    def hand_over(line: str | None) -> None:
        try:
            loop.call_soon_threadsafe(queue.put_nowait, line)
        except RuntimeError:
            log.debug("a control line came after the end")

    def read() -> None:
        for line in sys.stdin:
            hand_over(line)
        hand_over(None)

    threading.Thread(target=read, name="control input", daemon=True).start()
    while (line := await queue.get()) is not None:
        yield line


def _stop_on_signals(running: Gateway) -> None:
    """SIGTERM and Ctrl-C are the ordinary ways to end a gateway."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(number, running.stop)
        except NotImplementedError:
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(running.stop))


def _list_faults(as_json: bool) -> None:
    from ..brokers.simulation.fault_table import FAULTS

    if as_json:
        print_json(
            {row.name: {"arguments": row.arguments, "place": row.place, "what": row.summary} for row in FAULTS.values()}
        )
        return
    width = max(len(row.name + row.arguments) for row in FAULTS.values())
    for row in FAULTS.values():
        print(f"{row.name + row.arguments:<{width}}  {row.place.value:<8} {row.summary}")


def _clock(clock: ClockMode, control: str) -> ClockMode:
    if control not in ("", "stdio", "end"):
        raise ConfigurationError(f"--control {control}", "there is no such control", "write --control stdio or end")
    return ClockMode.CONTROL if control == "stdio" else clock


def _networks(allow: Sequence[str], general: Settings) -> tuple[str, ...]:
    """Who may connect: nobody beside this machine and those named; everybody who reaches the socket if none is."""
    try:
        named = [str(ip_network(entry)) for entry in allow] + [str(network) for network in general.allowed_clients]
    except ValueError as error:
        raise ConfigurationError("--allow", str(error), "write a network like 10.0.0.0/8") from None
    return (*LOOPBACK, *named) if named else ()


def _port(number: int) -> int:
    if not 0 <= number <= 65_535:
        raise ConfigurationError(f"--tws-port {number}", "it is no port", "choose 1 to 65535, or 0 for a free one")
    return number


def _amount(text: str) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise ConfigurationError(f"--cash {text}", "it is not a number", "write it like 100000") from None
    if not amount.is_finite() or amount <= 0:
        raise ConfigurationError(f"--cash {text}", "it must be above zero", "write it like 100000")
    return amount
