"""Broker names and their factories: entry points, and the built-in brokers through the same door.

A package adds a broker with an entry point of the group ``moondev_ibkr.brokers`` whose object is called with keyword
settings and answers a BaseBroker.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any

from .base_broker import BaseBroker
from .errors import ConfigurationError, NotSupported

GROUP = "moondev_ibkr.brokers"

#: Built-in name -> "module:attribute", imported when the broker is first asked for.
BUILT_INS: Mapping[str, str] = MappingProxyType(
    {
        "ib": f"{__package__}.interactive_brokers.ib_adapter:IBAdapter.from_settings",
        "paper": f"{__package__}.simulation.paper_trading:PaperBroker.from_bars",
        "portal": f"{__package__}.interactive_brokers.ib_portal_broker:PortalBroker.from_settings",
    }
)

BrokerFactory = Callable[..., BaseBroker]


def registered() -> dict[str, EntryPoint]:
    """Name -> entry point, built-ins first. Raises ConfigurationError when two packages claim one name."""
    found = {name: EntryPoint(name, target, GROUP) for name, target in BUILT_INS.items()}
    for point in entry_points(group=GROUP):
        known = found.get(point.name)
        if known is not None and known.value != point.value:
            raise ConfigurationError(
                f"broker {point.name!r}",
                f"both {known.value} and {point.value} claim the name",
                "uninstall one of the packages",
            )
        found[point.name] = point
    return found


def broker_names() -> tuple[str, ...]:
    """Every name that `get_broker` knows, sorted."""
    return tuple(sorted(registered()))


def broker_factory(name: str) -> BrokerFactory:
    """What makes the broker called `name`; imported here and not earlier.

    Raises ConfigurationError for an unknown name, NotSupported for one whose module is not installed.
    """
    points = registered()
    point = points.get(name)
    if point is None:
        raise ConfigurationError(
            f"broker {name!r}", "there is no such broker", f"choose one of {', '.join(sorted(points))}"
        )
    try:
        factory = point.load()
    except ModuleNotFoundError as failure:
        raise NotSupported(
            f"broker {name!r}",
            f"this installation has no {failure.name}",
            "choose another broker, or install the package that brings it",
            module=failure.name,
        ) from failure
    if not callable(factory):
        raise ConfigurationError(f"broker {name!r}", f"{point.value} is not callable", "mend the entry point")
    return factory  # type: ignore[no-any-return]


def get_broker(name: str, **settings: Any) -> BaseBroker:
    """The broker called `name`, not yet connected. `settings` are its factory's own keywords.

    Raises ConfigurationError for an unknown name or settings that the broker does not take, NotSupported for a broker
    that this installation lacks.
    """
    factory = broker_factory(name)
    try:
        inspect.signature(factory).bind(**settings)
    except TypeError as failure:
        raise ConfigurationError(
            f"broker {name!r}", f"its settings do not fit: {failure}", "see the factory's own documentation"
        ) from failure
    broker = factory(**settings)
    if not isinstance(broker, BaseBroker):
        raise ConfigurationError(f"broker {name!r}", f"its factory made a {type(broker).__name__}, not a BaseBroker")
    return broker
