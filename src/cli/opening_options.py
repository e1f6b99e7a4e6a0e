"""The options that say which broker a command opens, declared once; the command takes them as one `Opening`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

from .opening import Opening
from .options import (
    BarsOption,
    BrokerChoice,
    BrokerOption,
    ConfigOption,
    FreshOption,
    LiveOption,
    SeedOption,
    StartOption,
)
from .paper_account import asked_market

#: Name of the parameter that the options stand for.
OPENING = "opening"
#: Option -> (type, default), in the order in which help shows them.
OPTIONS: dict[str, tuple[object, object]] = {
    "broker": (BrokerOption, BrokerChoice.PAPER),
    "bars": (BarsOption, None),
    "start": (StartOption, None),
    "seed": (SeedOption, 0),
    "fresh": (FreshOption, False),
    "config": (ConfigOption, None),
    "i_understand_live": (LiveOption, False),
}
MARKET = ("bars", "start", "seed")


def opens(
    *, market: bool = False, fresh: bool = False, only_looks: bool = False
) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """A command whose parameter `opening` is made of the options of `OPTIONS`: those of a paper market with `market`,
    --fresh with `fresh`. `only_looks` as in `Opening`. The command raises InvalidRequest for a --start that is no date.
    """
    left_out = {*(() if market else MARKET), *(() if fresh else ("fresh",))}
    names = [name for name in OPTIONS if name not in left_out]

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        @functools.wraps(command)
        def wrapper(**given: Any) -> int:
            chosen = {name: given.pop(name) for name in names}
            asked = asked_market(*(chosen.pop(name) for name in MARKET)) if market else None
            return command(**given, opening=Opening(market=asked, only_looks=only_looks, **chosen))

        signature = _signature(command, names)
        wrapper.__signature__ = signature  # type: ignore[attr-defined]
        wrapper.__annotations__ = {name: row.annotation for name, row in signature.parameters.items()}
        return wrapper

    return decorate


def _signature(command: Callable[..., int], names: list[str]) -> inspect.Signature:
    """The command's own parameters with the options in the place of `opening`; typer reads it."""
    hints = get_type_hints(command, include_extras=True)
    rows: list[inspect.Parameter] = []
    for name, row in inspect.signature(command).parameters.items():
        if name == OPENING:
            rows += [_option(option) for option in names]
        else:
            rows.append(row.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY))
    return inspect.Signature(rows, return_annotation=int)


def _option(name: str) -> inspect.Parameter:
    annotation, default = OPTIONS[name]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
