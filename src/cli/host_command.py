"""`moondev-ibkr host`: an agent of an unmodified host checkout, on this broker."""

from __future__ import annotations

import atexit
import importlib
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, redirect_stdout, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..brokers.errors import BrokerError, UsageError
from ..config.settings import Settings
from .boundary import FAILED, OK, print_json, run_async
from .gateway_process import running_gateway
from .opening import Opening, open_broker, settings_for, state_folder
from .opening_options import opens
from .options import BrokerChoice, JsonOption, parse_symbols
from .paper_account import READY_FILE, PaperMarket

if TYPE_CHECKING:
    from ..agents.hooks.attach import Attachment, HookState
    from ..agents.hooks.launcher import Program

#: What the agents watch on the paper gateway where nobody says otherwise: the symbols with shipped bars.
SHIPPED = ("AAPL", "MSFT", "IBM", "GOOG")


@opens(market=True, fresh=True)
def host(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The folder of the host framework.")],
    agent: Annotated[
        str, typer.Argument(metavar="AGENT", help="trading_agent, risk_agent, aegs_live_scanner, … or a file.")
    ] = "",
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[-- ARGS]", help="Arguments of the agent itself.")
    ] = None,
    symbols: Annotated[
        str, typer.Option("--symbols", help="Tickers that the agents watch and trade, comma-separated.")
    ] = "",
    once: Annotated[bool, typer.Option("--once", help="One round of an agent that runs for ever.")] = False,
    constants: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A constant of the host's config or agent; repeatable."),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="List every hook: attached to what, or why not.")] = False,
    tracker: Annotated[
        bool, typer.Option("--tracker", help="Compare the host's position tracker with the broker, and mend it.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --tracker: only say what would be mended.")] = False,
    *,
    opening: Opening,
    json_output: JsonOption = False,
) -> int:
    """Run an agent of the moon-dev framework on IB, with no edit of the host; on the paper gateway by default.

    Its prices, bars, orders and positions of tickers come from the broker; every order passes the risk rules and the
    journal. --set changes a constant for this run: --set USE_SWARM_MODE=False --set AI_MODEL_TYPE=gpu_ollama.
    """
    from ..agents.hooks.attach import host_root
    from ..agents.hooks.launcher import find_program, parse_constant

    if not (agent or check or tracker):
        raise UsageError("host", "no agent was named", "name one, or --check, or --tracker")
    root = host_root(path)
    program = find_program(root, agent) if agent else None
    chosen = dict(parse_constant(text) for text in constants or ())
    settings = settings_for(opening)
    listed = parse_symbols(symbols)
    if program is not None and opening.broker is BrokerChoice.PAPER:
        opening = _on_paper(opening, settings, program, root, listed)
    # The host's modules print as they are imported, at the end too; under --json stdout is for the answer.
    quiet: AbstractContextManager[object] = redirect_stdout(sys.stderr) if check or tracker else nullcontext()
    with quiet:
        attachment = _attach(root, opening, settings, listed)
    try:
        if check:
            return _check(attachment, as_json=json_output)
        if tracker:
            return _reconcile_tracker(attachment, dry_run=dry_run, as_json=json_output)
        assert program is not None
        return _run(attachment, program, arguments or (), chosen, once=once)
    finally:
        _detach(attachment)


def _check(attachment: Attachment, *, as_json: bool) -> int:
    with redirect_stdout(sys.stderr):
        states = attachment.check()
    atexit.register(_hush)
    return _show(states, as_json=as_json)


def _detach(attachment: Attachment) -> None:
    from ..agents.hooks.attach import detach

    detach()
    attachment.broker.close()


def _on_paper(opening: Opening, settings: Settings, program: Program, root: Path, listed: Sequence[str]) -> Opening:
    """A paper market with the tickers that the program asks for; a running gateway is joined as it is."""
    from ..agents.hooks.launcher import named_tickers

    if opening.market is not None or run_async(running_gateway(state_folder(settings) / READY_FILE)) is not None:
        return opening
    wanted = listed or (named_tickers(program, root) if program.only_looks else ())
    others = [symbol for symbol in wanted if symbol not in SHIPPED]
    if not others:
        return opening
    market = PaperMarket(symbols=tuple(dict.fromkeys([*SHIPPED, *wanted])), others="synthetic")
    _say(f"paper market: real daily bars for {', '.join(SHIPPED)}; synthetic prices for {len(others)} other symbols")
    return Opening(
        opening.broker, opening.config, opening.i_understand_live, market, opening.fresh, only_looks=program.only_looks
    )


def _attach(root: Path, opening: Opening, settings: Settings, listed: Sequence[str]) -> Attachment:
    from ..agents.hooks.attach import attach
    from ..agents.hooks.host_broker import HostBroker
    from ..agents.hooks.named_brokers import host_settings

    own = host_settings(settings)
    held = HostBroker(lambda: open_broker(opening, own), timeout=own.request_timeout)
    symbols = listed or (SHIPPED if opening.broker is BrokerChoice.PAPER else None)
    return attach(root, broker=held, symbols=symbols, report=_say)


def _run(
    attachment: Attachment, program: Program, arguments: Sequence[str], constants: dict[str, object], *, once: bool
) -> int:
    from ..agents.hooks.launcher import run_program

    # A broker that cannot be reached is said at once, and not by each of the host's own handlers.
    attachment.broker.sync()
    code: object = OK
    try:
        run_program(attachment, program, arguments=arguments, once=once, constants=constants)
    except SystemExit as end:
        code = end.code
    finally:
        sys.stdout.flush()
        _tell(attachment)
    if isinstance(code, int):
        return code
    return OK if code is None else FAILED


def _reconcile_tracker(attachment: Attachment, *, dry_run: bool, as_json: bool) -> int:
    """0 when the host's tracker agrees with the broker, or does now; 1 when a difference is left."""
    from ..agents.trading.position_tracker import PositionReconciler

    def open_tracker() -> Any:
        return importlib.import_module("src.data.position_tracker").PositionTracker()

    reconciler = PositionReconciler(attachment.broker.sync(), open_tracker)
    try:
        # The host's tracker prints as it is opened; the differences are the answer.
        with redirect_stdout(sys.stderr):
            rows = reconciler.reconcile(dry_run=dry_run)
        atexit.register(_hush)
    except ModuleNotFoundError as error:
        raise UsageError("--tracker", f"this host has no position tracker ({error})", "leave it out") from None
    finally:
        reconciler.close()
    if as_json:
        print_json([asdict(row) for row in rows])
    for row in () if as_json else rows:
        print(f"{row.symbol:<6} {row.kind:<20} {row.text}")
    if not rows and not as_json:
        print("the tracker agrees with the broker")
    return OK if all(row.mended for row in rows) else FAILED


def _tell(attachment: Attachment) -> None:
    """What was done at the broker in this run, in one line."""
    with suppress(BrokerError):
        broker = attachment.broker.sync()
        own = [order for order in broker.orders() if not order.foreign]
        held = ", ".join(f"{row.quantity} {row.symbol}" for row in attachment.desk.holdings())
        _say(f"{len(own)} orders in this journal, {len(broker.fills())} fills; owned: {held or 'nothing'}")


def _say(text: str) -> None:
    print(f"moondev-ibkr: {text}", file=sys.stderr, flush=True)


def _hush() -> None:
    """What the host prints when the process ends is not for stdout; registered last, this runs first."""
    sys.stdout.flush()
    sys.stdout = sys.stderr


def _show(states: list[HookState], *, as_json: bool) -> int:
    """0 when every module that the host has is hooked, 1 when one is not."""
    if as_json:
        print_json(
            [{"module": row.module, "attached": row.attached, "about": row.about, "text": row.text} for row in states]
        )
    else:
        width = max(len(row.module) for row in states)
        for row in states:
            mark = {True: "attached", False: "NOT", None: "absent"}[row.attached]
            print(f"{row.module:<{width}}  {mark:<8}  {row.text}")
    return FAILED if any(row.attached is False for row in states) else OK
