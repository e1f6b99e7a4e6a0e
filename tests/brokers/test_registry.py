"""Names to brokers, through entry points."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest
from moondev_ibkr.brokers import registry
from moondev_ibkr.brokers.base_broker import BaseBroker
from moondev_ibkr.brokers.errors import ConfigurationError, NotSupported
from moondev_ibkr.brokers.registry import GROUP, broker_factory, broker_names, get_broker


def house_broker(*, greeting: str = "hello") -> BaseBroker:
    broker = get_broker("paper")
    broker.greeting = greeting
    return broker


def not_a_broker() -> str:
    return "nothing"


not_callable = "nothing"


def entry(name: str, attribute: str) -> EntryPoint:
    return EntryPoint(name, f"tests_of_registry:{attribute}", GROUP)


@pytest.fixture
def installed(monkeypatch):
    """Entry points as if another package had been installed."""

    def install(**points: str) -> None:
        monkeypatch.setitem(sys.modules, "tests_of_registry", sys.modules[__name__])
        found = [entry(name, attribute) for name, attribute in points.items()]
        monkeypatch.setattr(registry, "entry_points", lambda group: found if group == GROUP else [])

    return install


def test_the_built_in_names_are_there():
    assert {"ib", "paper", "portal"} <= set(broker_names())


@pytest.mark.parametrize("name", ["ib", "paper", "portal"])
def test_a_built_in_factory_is_imported_on_demand(name):
    assert callable(broker_factory(name))


def test_paper_works_with_no_settings_at_all():
    broker = get_broker("paper")
    assert broker.name == "paper"
    assert broker.accounts()


def test_a_broker_whose_module_is_missing_is_not_supported(monkeypatch):
    ghost = EntryPoint("ghost", "no_such_package_at_all:make", GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [ghost])
    with pytest.raises(NotSupported, match="no_such_package_at_all") as refusal:
        get_broker("ghost")
    assert refusal.value.data["module"] == "no_such_package_at_all"


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ConfigurationError, match="paper"):
        get_broker("nobody")


def test_settings_that_the_broker_does_not_take_are_refused():
    with pytest.raises(ConfigurationError, match="sped"):
        get_broker("paper", sped=3)


def test_a_package_can_add_a_broker(installed):
    installed(house="house_broker")
    assert "house" in broker_names()
    assert get_broker("house", greeting="good day").greeting == "good day"


def test_two_packages_cannot_claim_one_name(installed):
    installed(paper="house_broker")
    with pytest.raises(ConfigurationError, match="paper"):
        get_broker("paper")


def test_a_factory_must_make_brokers(installed):
    installed(odd="not_a_broker")
    with pytest.raises(ConfigurationError, match="str"):
        get_broker("odd")


def test_an_entry_point_must_be_callable(installed):
    installed(odd="not_callable")
    with pytest.raises(ConfigurationError, match="callable"):
        get_broker("odd")


def test_importing_the_registry_imports_no_broker():
    code = (
        "import sys, moondev_ibkr.brokers.registry;"
        "print([m for m in sys.modules if m.startswith(('moondev_ibkr.brokers.simulation',"
        " 'moondev_ibkr.brokers.interactive_brokers', 'ib_async'))])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout.strip() == "[]"
