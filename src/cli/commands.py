"""The table of commands, and how one is imported only when it is asked for: a one-shot command starts at once."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import typer
import typer.core
import typer.main

from .boundary import reported

#: Name -> module of this package with the function of that name, in the order in which help shows them.
COMMANDS: Mapping[str, str] = {
    "run": "run_command",
    "host": "host_command",
    "gateway": "gateway_command",
    "demo": "demo_command",
    "doctor": "doctor",
    "doors": "doors_command",
    "llm": "llm_command",
    "quote": "market_commands",
    "bars": "market_commands",
    "account": "market_commands",
    "positions": "market_commands",
    "orders": "market_commands",
    "buy": "order_commands",
    "sell": "order_commands",
    "cancel": "order_commands",
    "flatten": "order_commands",
    "kill": "order_commands",
    "resume": "order_commands",
    "adopt": "order_commands",
    "analyze": "analyze_command",
    "radar": "radar_command",
    "gaps": "radar_command",
    "costs": "market_commands",
}


class LazyCommands(typer.core.TyperGroup):
    """A group whose commands are those of `COMMANDS`."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        if cmd_name not in self.commands:
            module = import_module(f".{COMMANDS[cmd_name]}", __package__)
            lone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
            lone.command(name=cmd_name)(reported(getattr(module, cmd_name)))
            self.commands[cmd_name] = typer.main.get_command(lone)
        return self.commands[cmd_name]
