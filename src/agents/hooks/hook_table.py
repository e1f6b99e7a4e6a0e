"""Every hook: which module of the host, what it replaces. The table that `--check` and docs/hooks.md show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType

from . import agent_guards, exchange_manager, host_config, model_factory
from .data_reads import DataReads
from .desk import Desk
from .exchange_manager import IBExchange
from .helper_hooks import HelperHook
from .host_bars import HostBars
from .import_hooks import Hook
from .nice_funcs_aster import AsterFuncs
from .nice_funcs_hyperliquid import HyperliquidFuncs
from .nice_funcs_robinhood import RobinhoodFuncs
from .nice_funcs_solana import SolanaFuncs
from .patches import Patches
from .risk_agent_guard import RiskAgentGuard
from .routing import Routing
from .trading_agent_guard import TradingAgentGuard, in_symbol_mode

#: Module -> what its hook does, in the order in which docs and --check show them.
ABOUT: Mapping[str, str] = {
    "src.config": "EXCHANGE is ib; the monitored list and get_active_tokens answer the tickers",
    "src.nice_funcs": "prices, bars, positions, wallet and orders of tickers come from IB; get_ohlcv_data is added",
    "src.nice_funcs_aster": "the trading agent's interface: tickers go to IB",
    "src.nice_funcs_extended": "the same shape: tickers go to IB",
    "src.nice_funcs_hyperliquid": "get_data of tickers comes from IB",
    "src.nice_funcs_robinhood": "the stock broker's shape: tickers go to IB",
    "src.exchange_manager": "ExchangeManager and create_exchange_manager know ib",
    "src.models.model_factory": "the model type gpu_ollama",
    "src.data.ohlcv_collector": "the bars of all tickers come in one batch",
    "src.agents.base_agent": "an agent that asked for the exchange manager gets it, or fails",
    "src.agents.trading_agent": "sane sizes, strict answers, and each cycle acts on its own rows only",
    "src.agents.strategy_agent": "its model's decisions count only when they are exact",
    "src.agents.risk_agent": "it sees net liquidation, and a failed read never liquidates",
    "src.agents.portfolio_rebalancing_agent": "chunk_kill sells the amount that it names, of what is owned",
    "aegs_live_scanner": "the bars of the whole list come in one batch",
    "aegs_live_scanner_fixed": "the bars of the whole list come in one batch",
    "aegs_enhanced_scanner": "the bars of the whole list come in one batch",
    "yfinance": "download, Ticker and Tickers are answered from IB; the rest stays yfinance's",
}
#: Hooks of agents that must not have been imported before: their constants were bound by then.
BEFORE_IMPORT = tuple(name for name in ABOUT if name.startswith(("src.agents.", "aegs_")))


@dataclass(frozen=True, slots=True)
class Parts:
    """What the hooks are made of."""

    desk: Desk
    bars: HostBars
    data: DataReads
    routing: Routing
    patches: Patches
    symbols: tuple[str, ...]
    make_backend: Callable[[str | None], model_factory.Backend]
    prefetch_daily: agent_guards.Prefetch
    constant: Callable[[str, float], float]
    yfinance: Hook


def make_hooks(parts: Parts) -> dict[str, Hook]:
    """Every hook by module name, those of `yfinance` apart."""
    desk, patches, bars, routing = parts.desk, parts.patches, parts.bars, parts.routing
    aster = AsterFuncs(desk, parts.data)
    facades: dict[str, object] = {
        "src.nice_funcs": SolanaFuncs(desk, parts.data, parts.constant),
        "src.nice_funcs_aster": aster,
        "src.nice_funcs_extended": aster,
        "src.nice_funcs_hyperliquid": HyperliquidFuncs(parts.data),
        "src.nice_funcs_robinhood": RobinhoodFuncs(desk, parts.data),
    }
    helpers = {name: HelperHook(name, facade, desk, routing, patches) for name, facade in facades.items()}
    exchange = IBExchange(desk, parts.data)

    def scanner(module: ModuleType) -> None:
        agent_guards.scanner(module, parts.prefetch_daily, patches)

    def models(module: ModuleType) -> None:
        model_factory.register(module, parts.make_backend, desk.report)
        patches.on_undo(lambda: model_factory.unregister(module))

    apply: dict[str, Callable[[ModuleType], None]] = {
        "src.config": lambda module: host_config.hook(module, parts.symbols, patches),
        "src.exchange_manager": lambda module: exchange_manager.hook(module, exchange, patches),
        "src.models.model_factory": models,
        "src.data.ohlcv_collector": lambda module: agent_guards.ohlcv_collector(module, bars, routing, patches),
        "src.agents.base_agent": lambda module: agent_guards.base_agent(module, desk, patches),
        "src.agents.trading_agent": TradingAgentGuard(desk, parts.symbols, patches).apply,
        "src.agents.strategy_agent": lambda module: agent_guards.strategy_agent(module, desk, patches),
        "src.agents.risk_agent": RiskAgentGuard(desk, patches).apply,
        "src.agents.portfolio_rebalancing_agent": lambda module: agent_guards.rebalancing_agent(
            module, desk, routing, patches
        ),
        **{name: scanner for name in ABOUT if name.startswith("aegs_")},
    }
    hooks = {name: Hook(ABOUT[name], row.apply, alone=row.alone) for name, row in helpers.items()}
    hooks |= {name: Hook(ABOUT[name], function) for name, function in apply.items()}
    agent = hooks["src.agents.trading_agent"]
    hooks["src.agents.trading_agent"] = Hook(agent.about, agent.apply, around=in_symbol_mode)
    return hooks
