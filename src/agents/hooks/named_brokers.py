"""A broker by its name, with the limits that a host's agents get where the user sets none."""

from __future__ import annotations

from ...brokers.base_broker import BaseBroker
from ...brokers.registry import get_broker
from ...config.settings import SIMULATION_PORT, Environment, Settings, load_settings
from .hook_settings import HOST_RISK
from .host_broker import BrokerMaker


def host_settings(settings: Settings) -> Settings:
    """`settings` with the host's limits beneath the user's own."""
    return settings.model_copy(update={"risk": {**HOST_RISK, **settings.risk}})


def broker_maker(broker: str | BaseBroker, *, i_understand_live: bool = False) -> BrokerMaker:
    """What makes the broker when it is first needed. Raises ConfigurationError for settings that cannot be."""
    if isinstance(broker, BaseBroker):
        return lambda: broker
    if broker == "paper":
        risk = host_settings(
            load_settings(environment=Environment.SIMULATION, port=SIMULATION_PORT, gateways=())
        ).policy_values
        return lambda: get_broker("paper", risk=risk)
    settings = load_settings(i_understand_live=i_understand_live)
    if settings.environment is Environment.SIMULATION:
        settings = load_settings(environment=Environment.PAPER)
    chosen = host_settings(settings)
    return lambda: get_broker(broker, settings=chosen)
