"""The portal door's options on the command line: its port, and any of its settings as KEY=VALUE."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Sequence
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

from ..brokers.errors import ConfigurationError
from ..brokers.simulation.portal.settings import PortalSettings

DEFAULTS = PortalSettings()
#: Where the portal listens unless told otherwise. Not IB's own 5000, on purpose.
PORTAL_PORT = 15000
#: Settings that have an option of their own.
OPTIONS = {
    "host": "--host",
    "port": "--portal-port",
    "allowed": "--allow",
    "user": "--portal-user",
    "tws_user": "--tws-user",
    "oauth_consumers": "--oauth-folder",
}
_WORDS = {"true": True, "yes": True, "1": True, "on": True, "false": False, "no": False, "0": False, "off": False}


def portal_port(text: str | None, tws_port: int) -> int | None:
    """None closes the door ("off"). Nothing said: the usual port, or a free one where the TWS door takes one too.
    Raises ConfigurationError."""
    if text is None:
        return PORTAL_PORT if tws_port else 0
    if text.strip().lower() == "off":
        return None
    if not text.isdecimal() or not 0 <= int(text) <= 65_535:
        raise ConfigurationError(
            f"--portal-port {text}", "it is no port", "choose 1 to 65535, 0 for a free one, or off"
        )
    return int(text)


def oauth_consumers(folder: Path | None, user: str) -> tuple[str, ...]:
    """The setting for a folder with a consumer's keys; where it holds none, a key set for `user` is made. Raises
    ConfigurationError."""
    if folder is None:
        return ()
    from ..brokers.simulation.portal.oauth_consumers import consumer_in

    try:
        consumer_in(folder, user)
    except OSError as error:
        raise ConfigurationError(f"--oauth-folder {folder}", f"{error.strerror}: {error.filename}") from None
    return (str(folder.absolute()),)


def portal_values(entries: Sequence[str]) -> dict[str, Any]:
    """KEY=VALUE entries as settings of the portal; commas separate the values of a list. Raises ConfigurationError."""
    kinds = typing.get_type_hints(PortalSettings)
    values: dict[str, Any] = {}
    for entry in entries:
        key, equals, text = entry.partition("=")
        key = key.strip().replace("-", "_")
        if key in OPTIONS:
            raise ConfigurationError(f"--portal {entry}", f"{key} has an option of its own", f"use {OPTIONS[key]}")
        if not equals or key not in kinds:
            known = ", ".join(sorted(set(kinds) - set(OPTIONS)))
            raise ConfigurationError(f"--portal {entry}", "it is not KEY=VALUE of a setting", f"settings are {known}")
        try:
            values[key] = _value(kinds[key], text.strip())
        except ValueError as error:
            raise ConfigurationError(f"--portal {entry}", str(error)) from None
    return values


def _value(kind: Any, text: str) -> Any:
    """Raises ValueError for what is no value of this type."""
    if isinstance(kind, types.UnionType):
        if text.lower() == "none":
            return None
        kind = next(part for part in typing.get_args(kind) if part is not types.NoneType)
    origin = typing.get_origin(kind)
    if origin is not None:
        return origin(part.strip() for part in text.split(",") if part.strip())
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        if text not in list(kind):
            raise ValueError(f"it must be one of {', '.join(kind)}")
        return kind(text)
    return _SCALARS[kind](text)


def _truth(text: str) -> bool:
    if text.lower() not in _WORDS:
        raise ValueError("it must be true or false")
    return _WORDS[text.lower()]


def _number(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise ValueError("it must be zero or above")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise ValueError("it must be zero or above")
    return value


def _amount(text: str) -> Decimal:
    return Decimal(str(_number(text)))


_SCALARS: dict[Any, Callable[[str], Any]] = {
    bool: _truth,
    int: _count,
    float: _number,
    Decimal: _amount,
    str: str,
    Path: Path,
}
