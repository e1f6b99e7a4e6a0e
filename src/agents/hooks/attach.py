"""Attach IB to a host framework, before its modules are imported: `attach(path)`, and `detach()`.

Nothing of the host is edited. Its modules are hooked as they are imported, every change is remembered, and `detach`
takes all of them back. Nothing connects before the first question.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import logging
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

from ...brokers.base_broker import BaseBroker
from ...brokers.domain.instrument import normalize_symbol
from ...brokers.errors import BrokerError, ConfigurationError, UsageError
from ...brokers.sync import DEFAULT_TIMEOUT
from . import host_config
from .data_reads import DataReads
from .desk import Desk, Report
from .hook_settings import HookSettings
from .hook_table import ABOUT, BEFORE_IMPORT, Parts, make_hooks
from .host_bars import HostBars
from .host_broker import HostBroker
from .import_hooks import AliasFinder, Hook, HookFinder
from .model_backend import backend_maker
from .named_brokers import broker_maker
from .patches import Patches
from .routing import Routing
from .yfinance_facade import YFinanceFacade
from .yfinance_source import YFinanceSource

log = logging.getLogger(__name__)

_PACKAGE = __name__.removesuffix(".agents.hooks.attach")


@dataclass(frozen=True, slots=True)
class HookState:
    """One row of `--check`: `attached` None where the host has no such module."""

    module: str
    about: str
    attached: bool | None
    text: str


class Attachment:
    """IB attached to one host. Made by `attach`; `close` is `detach`."""

    def __init__(self, root: Path, broker: HostBroker, settings: HookSettings, report: Report, *, owns: bool) -> None:
        self.root = root
        self.broker = broker
        self.symbols: tuple[str, ...] = settings.symbols
        self.desk = Desk(broker.sync, settings, report)
        self._owns = owns
        self._patches = Patches()
        self._bars = HostBars(self.desk.live)
        self._before = frozenset(sys.modules)
        self._yfinance: YFinanceFacade | None = None
        self._yfinance_itself: ModuleType | None = None
        self._finder: HookFinder | None = None

    # Putting on

    def put_on(self) -> None:
        """Raises ConfigurationError or UsageError, and then nothing stays changed."""
        try:
            self._open_path()
            config = self._config()
            self._choose_symbols(config)
            finder = self._finder = self._make_finder(config)
            self._refuse_late_agents()
            host_config.hook(config, self.symbols, self._patches)
            finder.applied["src.config"] = ABOUT["src.config"]
            sys.meta_path.insert(0, finder)
            self._patches.on_undo(lambda: sys.meta_path.remove(finder))
            self._patches.on_undo(finder.forget)
            aliases = AliasFinder(_PACKAGE, self.root)
            sys.meta_path.insert(0, aliases)
            self._patches.on_undo(lambda: sys.meta_path.remove(aliases))
            self._patches.on_undo(aliases.forget)
            self._hook_loaded(finder)
        except BaseException:
            self._patches.undo()
            raise

    def _open_path(self) -> None:
        """The host's root is where a script of it would find it: at the front of the search path."""
        root = str(self.root)
        if root not in sys.path:
            sys.path.insert(0, root)
            self._patches.on_undo(lambda: sys.path.remove(root) if root in sys.path else None)
        importlib.invalidate_caches()

    def _config(self) -> ModuleType:
        try:
            config = importlib.import_module("src.config")
        # The boundary to the host's own code.
        except Exception as error:
            raise ConfigurationError(
                f"host {self.root}", f"its src/config.py cannot be imported: {error}", "run the host by itself once"
            ) from error
        where = Path(getattr(config, "__file__", None) or "")
        if self.root not in where.resolve().parents:
            raise ConfigurationError(
                f"host {self.root}",
                f"another src.config is loaded already, from {where}",
                "attach in a fresh interpreter, before anything named src is imported",
            )
        return config

    def _choose_symbols(self, config: ModuleType) -> None:
        if not self.symbols:
            self.symbols = host_config.symbols_of(config)
            self.desk.settings = replace(self.desk.settings, symbols=self.symbols)
        if not self.symbols:
            self.desk.report("no symbols: name some with symbols=, --symbols, or IB_SYMBOLS in the host's config")

    def _make_finder(self, config: ModuleType) -> HookFinder:
        listed = self.symbols
        routing = Routing(listed, host_config.crypto_of(config), host_config.cash_of(config))
        parts = Parts(
            desk=self.desk,
            bars=self._bars,
            data=DataReads(self.desk, self._bars, YFinanceSource(self._real_yfinance)),
            routing=routing,
            patches=self._patches,
            symbols=self.symbols,
            make_backend=backend_maker(),
            prefetch_daily=self._prefetch_daily,
            constant=lambda name, default: float(getattr(config, name, default)),
            yfinance=Hook(ABOUT["yfinance"], self._stand_in_for_yfinance, alone=self._stand_in_for_yfinance),
        )
        return HookFinder(self.root, make_hooks(parts), {"yfinance": parts.yfinance})

    def _refuse_late_agents(self) -> None:
        late = [name for name in BEFORE_IMPORT if self._loaded(name)]
        if late:
            raise UsageError(
                "attach",
                f"{', '.join(late)} was imported before, with its constants bound to another exchange",
                "attach before the first import of the host's agents",
            )

    def _loaded(self, name: str) -> ModuleType | None:
        """The host's module of that name, or of its second name without `src.`, if it was imported."""
        for spelling in (name, name.removeprefix("src.")):
            module = sys.modules.get(spelling)
            where = getattr(module, "__file__", None)
            if module is not None and where and self.root in Path(where).resolve().parents:
                return module
        return None

    def _hook_loaded(self, finder: HookFinder) -> None:
        """Helpers that were imported before: hooked in place, and names that others took from them are bound anew."""
        for name, hook in finder.hooks.items():
            module = self._loaded(name) if name != "src.config" else None
            if module is None:
                continue
            before = dict(vars(module))
            hook.apply(module)
            finder.applied[name] = hook.about
            changed = {id(before[n]): vars(module)[n] for n in before if vars(module).get(n) is not before[n]}
            moved = self._rebind({k: v for k, v in changed.items() if callable(v)})
            self.desk.report(
                f"{name} was imported before attach: hooked in place, {moved} copies of its names bound anew"
            )
        real = sys.modules.get("yfinance")
        if real is not None and not isinstance(real, YFinanceFacade):
            self._stand_in_for_yfinance(real)
            finder.applied["yfinance"] = ABOUT["yfinance"]
            self._rebind({id(real): self._yfinance})

    def _rebind(self, changed: dict[int, object]) -> int:
        moved = 0
        for module in list(sys.modules.values()):
            where = getattr(module, "__file__", None)
            if not isinstance(module, ModuleType) or not where or self.root not in Path(where).resolve().parents:
                continue
            for name, value in list(vars(module).items()):
                if id(value) in changed and vars(module)[name] is not changed[id(value)]:
                    self._patches.set(module, name, changed[id(value)])
                    moved += 1
        return moved

    # yfinance

    def _stand_in_for_yfinance(self, module: ModuleType, reason: BaseException | None = None) -> None:
        """`module` is the real package, or an empty one where there is none (`reason`)."""
        before = self._yfinance_itself = None if reason is not None else module
        self._yfinance = YFinanceFacade(self._bars, before)
        sys.modules["yfinance"] = self._yfinance

        def back() -> None:
            if before is None:
                sys.modules.pop("yfinance", None)
            else:
                sys.modules["yfinance"] = before

        self._patches.on_undo(back)

    def _facade(self) -> YFinanceFacade:
        if self._yfinance is None:
            importlib.import_module("yfinance")
        assert self._yfinance is not None
        return self._yfinance

    def _real_yfinance(self) -> ModuleType | None:
        self._facade()
        return self._yfinance_itself

    def _prefetch_daily(self, symbols: list[str]) -> None:
        self._facade().prefetch(symbols, period="200d")

    # Looking

    def check(self) -> list[HookState]:
        """Import every hooked module and tell what became of its hook. Nothing connects."""
        assert self._finder is not None
        return [self._state(name) for name in ABOUT]

    def _state(self, name: str) -> HookState:
        assert self._finder is not None
        about = ABOUT[name]
        if name != "yfinance" and not _exists(self.root, name):
            return HookState(name, about, None, "this host has no such module")
        try:
            importlib.import_module(name)
        except BrokerError as error:
            return HookState(name, about, False, str(error))
        # The boundary to the host's own code, which may even end the process.
        except (Exception, SystemExit) as error:
            log.warning("%s of the host cannot be imported", name, exc_info=True)
            return HookState(name, about, False, f"it cannot be imported here: {type(error).__name__}: {error}")
        applied = self._finder.applied.get(name)
        return HookState(name, about, applied is not None, applied or "it was imported by another way")

    # Taking off

    def close(self) -> None:
        """Take every change back; the broker is left when it was made here."""
        self._patches.undo()
        self._forget_programs()
        if self._owns:
            self.broker.close()

    def _forget_programs(self) -> None:
        """The agents and scripts imported meanwhile took their constants from a changed config: they are imported anew
        when they are needed again. Helpers stay, as they were before."""
        for name, module in list(sys.modules.items()):
            where = Path(getattr(module, "__file__", None) or "").resolve()
            if name in self._before or self.root not in where.parents:
                continue
            parent, _, own = name.rpartition(".")
            if where.parent == self.root or parent.endswith("agents"):
                del sys.modules[name]
                vars(sys.modules.get(parent, ModuleType(""))).pop(own, None)


_lock = threading.Lock()
_attached: Attachment | None = None


def attach(
    host_path: str | Path | None = None,
    *,
    broker: str | BaseBroker | HostBroker = "paper",
    symbols: Iterable[str] | None = None,
    settings: HookSettings | None = None,
    report: Report | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    i_understand_live: bool = False,
) -> Attachment:
    """Hook the host framework at `host_path` (None: the `src` that Python already finds) onto `broker`.

    `broker` is a name ("paper" needs no account; "ib", "portal" are configured by the IB_… settings), a broker, or a
    HostBroker. `symbols` are the tickers that its agents watch; None takes them from the host's config. `report` gets
    what a person should read, the log when None. `timeout` is real seconds of every call. Live trading takes
    IB_ENVIRONMENT=live and `i_understand_live`.

    Raises UsageError when attached already or too late, ConfigurationError for what is no host or another version.
    """
    global _attached
    with _lock:
        if _attached is not None:
            raise UsageError(f"attach to {host_path or 'the host'}", f"{_attached.root} is attached", "detach() first")
        root = host_root(host_path)
        chosen = settings or HookSettings()
        if symbols is not None:
            chosen = replace(chosen, symbols=tuple(dict.fromkeys(normalize_symbol(symbol) for symbol in symbols)))
        owns = not isinstance(broker, HostBroker)
        held = (
            broker
            if isinstance(broker, HostBroker)
            else HostBroker(broker_maker(broker, i_understand_live=i_understand_live), timeout=timeout)
        )
        attachment = Attachment(root, held, chosen, report or _warn, owns=owns)
        attachment.put_on()
        _attached = attachment
        return attachment


def detach() -> None:
    """Take the hooks off again. Without an attachment it does nothing."""
    global _attached
    with _lock:
        attachment, _attached = _attached, None
    if attachment is not None:
        attachment.close()


def attached() -> Attachment | None:
    """The attachment of this process, None when there is none."""
    return _attached


def _warn(text: str) -> None:
    log.warning("%s", text)


def host_root(path: str | Path | None) -> Path:
    """Raises ConfigurationError for a folder that holds no host."""
    if path is not None:
        root = Path(path).expanduser().resolve()
    else:
        spec = importlib.machinery.PathFinder.find_spec("src")
        where = next(iter(spec.submodule_search_locations or ()), None) if spec is not None else None
        if where is None:
            raise ConfigurationError("attach", "Python finds no package named src", "give the path of the host")
        root = Path(where).resolve().parent
    if not (root / "src" / "config.py").is_file():
        raise ConfigurationError(
            f"host {root}", "it has no src/config.py", "give the folder that the host was cloned into"
        )
    return root


def _exists(root: Path, name: str) -> bool:
    path = root / Path(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()
