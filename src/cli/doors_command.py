"""`moondev-ibkr doors`: both doors, who holds the pen, every order in doubt with its evidence; and the way back."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ..brokers.errors import ConfigurationError
from ..brokers.interactive_brokers.ib_adapter import IBAdapter
from ..brokers.interactive_brokers.ib_failover_policy import FailoverStatus
from ..brokers.orders import Doubt
from ..config.settings import FailoverMode
from .boundary import OK, print_json
from .opening import Opening, settings_for, with_broker
from .options import BrokerChoice, BrokerOption, ConfigOption, JsonOption, LiveOption
from .run_report import make_console

#: Real seconds that the door without the pen may take to be shown as it stands.
STANDBY_DEADLINE = 15.0


def doors(
    to: Annotated[str, typer.Option("--to", help="Give the pen to this door: tws or portal.")] = "",
    broker: BrokerOption = BrokerChoice.IB,
    config: ConfigOption = None,
    i_understand_live: LiveOption = False,
    json_output: JsonOption = False,
) -> int:
    """Show both doors, which one orders go through, and every order in doubt. Needs IB_FAILOVER."""

    opening = Opening(broker, config, i_understand_live)
    one_door = ConfigurationError("doors", "there is one door only", "set IB_FAILOVER to one_user or two_users")
    if settings_for(opening).failover is FailoverMode.OFF:
        raise one_door

    async def work(session: IBAdapter) -> int:
        failover = session.failover
        if failover is None:
            raise one_door
        if to:
            await failover.hand_over(to)
        await failover.standby_tried(STANDBY_DEADLINE)
        status, doubts = failover.status(), session.manager.doubts()
        if json_output:
            print_json(status_json(status, doubts))
        else:
            show_doors(status, doubts, make_console())
        return OK

    return with_broker(opening, work)


def status_json(status: FailoverStatus, doubts: list[Doubt]) -> dict[str, Any]:
    return {
        "pen": status.pen,
        "epoch": status.epoch,
        "changing": status.hands_over,
        "other_door_shows_our_orders": status.sight.value,
        "doors": [
            {
                "name": door.name,
                "state": door.state,
                "orders": door.has_pen,
                "data": door.has_data,
                "seen": [
                    {"sign": note.sign, "at": note.at, "text": note.text, "means": note.meaning} for note in door.notes
                ],
            }
            for door in status.doors
        ],
        "in_doubt": [
            {"key": doubt.order.key, "state": doubt.order.state, "door": doubt.door, "evidence": doubt.evidence}
            for doubt in doubts
        ],
    }


def show_doors(status: FailoverStatus, doubts: list[Doubt], console: Console) -> None:
    table = Table(title=f"doors: {status.pen} has the pen (epoch {status.epoch})", title_justify="left")
    for name in ("door", "state", "seen", "when", "what it means"):
        table.add_column(name, overflow="fold")
    for door in status.doors:
        first = True
        for note in door.notes:
            seen = f"{note.sign}: {note.text}" if note.text else str(note.sign)
            cells = (door.name, str(door.state)) if first else ("", "")
            table.add_row(*cells, seen, f"{note.at:%H:%M:%S}", note.meaning)
            first = False
    console.print(table)
    for doubt in doubts:
        console.print(f"[bold yellow]in doubt[/] order {doubt.order.key} (sent through {doubt.door}): {doubt.evidence}")
    if not doubts:
        console.print("no order is in doubt")
