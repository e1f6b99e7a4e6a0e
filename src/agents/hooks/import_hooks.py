"""How hooks reach a host's modules: at their import, right after their own code ran, and before anybody sees them."""

from __future__ import annotations

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Hook:
    """`apply` is called with a module that was just executed. `around` wraps that execution. `alone` fills a module
    whose own code cannot run here (a missing package, a missing key) and gets the reason; None lets that error out."""

    about: str
    apply: Callable[[ModuleType], None]
    around: Callable[[], AbstractContextManager[object]] | None = None
    alone: Callable[[ModuleType, BaseException], None] | None = None


class HookFinder(importlib.abc.MetaPathFinder):
    """`hooks` by canonical module name ("src.nice_funcs"); modules are hooked only when they lie under `root`, except
    those in `anywhere`. The host also imports its modules without the `src.` in front, as second copies."""

    def __init__(self, root: Path, hooks: Mapping[str, Hook], anywhere: Mapping[str, Hook]) -> None:
        self.root = root
        self.hooks = hooks
        self.anywhere = anywhere
        self.applied: dict[str, str] = {}
        #: Modules whose own code could not run: empty once the hooks are off.
        self.stand_ins: list[ModuleType] = []

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        elsewhere = self.anywhere.get(fullname)
        if elsewhere is None and self._candidate(fullname) is None:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if elsewhere is not None:
            return self._hooked(fullname, spec, elsewhere)
        hook = self.hook_for(fullname, spec.origin if spec is not None else None)
        return self._hooked(fullname, spec, hook) if spec is not None and hook is not None else None

    def _candidate(self, fullname: str) -> Hook | None:
        return self.hooks.get(fullname) or self.hooks.get(f"src.{fullname}")

    def hook_for(self, fullname: str, origin: str | None) -> Hook | None:
        """The hook of a module by its name and file; None for a file outside the host."""
        if origin is None:
            return None
        try:
            inside = Path(origin).resolve().relative_to(self.root)
        except ValueError:
            return None
        canonical = ".".join(inside.with_suffix("").parts).removesuffix(".__init__")
        return self.hooks.get(canonical)

    def forget(self) -> None:
        """Take the stand-ins out of sys.modules, so that the next import tells the host's own error."""
        for module in self.stand_ins:
            if sys.modules.get(module.__name__) is module:
                _forget(module.__name__)
        self.stand_ins.clear()

    def _hooked(
        self, fullname: str, spec: importlib.machinery.ModuleSpec | None, hook: Hook
    ) -> importlib.machinery.ModuleSpec | None:
        if spec is None or spec.loader is None:
            if hook.alone is None:
                return None
            return importlib.machinery.ModuleSpec(fullname, HookedLoader(self, None, hook))
        spec.loader = HookedLoader(self, spec.loader, hook)
        return spec


class HookedLoader(importlib.abc.Loader):
    """The module's own loader, then the hook."""

    def __init__(self, finder: HookFinder, loader: importlib.abc.Loader | None, hook: Hook) -> None:
        self._finder = finder
        self._loader = loader
        self._hook = hook

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec) if self._loader is not None else None

    def exec_module(self, module: ModuleType) -> None:
        hook, name = self._hook, module.__name__
        if self._loader is None:
            self._stand_in(module, ModuleNotFoundError(f"No module named {name!r}", name=name))
            return
        around = hook.around() if hook.around is not None else contextlib.nullcontext()
        try:
            with around:
                self._loader.exec_module(module)
        # The boundary to a host's own code: one of its modules exits the process when a private folder is missing.
        except (Exception, SystemExit) as error:
            if hook.alone is None:
                raise
            self._stand_in(module, error)
            return
        hook.apply(module)
        self._finder.applied[name] = hook.about

    def _stand_in(self, module: ModuleType, error: BaseException) -> None:
        assert self._hook.alone is not None
        log.warning("the host's %s cannot be imported (%s); IB answers alone", module.__name__, error)
        for name in [name for name in vars(module) if not name.startswith("__")]:
            delattr(module, name)
        self._hook.alone(module, error)
        self._finder.stand_ins.append(module)
        self._finder.applied[module.__name__] = f"{self._hook.about}; its own code cannot run here: {_short(error)}"

    def __getattr__(self, name: str) -> object:
        # get_source, get_filename and the like, which tracebacks and inspect ask for
        return getattr(self._loader, name)


class AliasFinder(importlib.abc.MetaPathFinder):
    """Inside an attached host, `src.brokers…` are the very modules of this package, not second copies of them."""

    def __init__(self, package: str, host_root: Path) -> None:
        self._package = package
        names = ("brokers", "agents.hooks", "agents.trading", "agents.llm", "agents.analysis")
        #: What the host has itself stays the host's.
        self._names = tuple(f"src.{name}" for name in names if not _has(host_root / "src" / Path(*name.split("."))))

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not any(fullname == name or fullname.startswith(f"{name}.") for name in self._names):
            return None
        real = self._package + fullname.removeprefix("src")
        try:
            module = importlib.import_module(real)
        except ModuleNotFoundError as error:
            if error.name == real:
                return None
            raise
        return importlib.machinery.ModuleSpec(fullname, _AliasLoader(module), is_package=hasattr(module, "__path__"))

    def forget(self) -> None:
        """Take the aliases out of sys.modules again, and out of the host's packages."""
        for name in [name for name in sys.modules if any(name == n or name.startswith(f"{n}.") for n in self._names)]:
            if name in self._names:
                _forget(name)
            else:
                del sys.modules[name]


class _AliasLoader(importlib.abc.Loader):
    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._spec = module.__spec__

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        # The import system wrote the alias's spec into the real module.
        module.__spec__ = self._spec


def _forget(name: str) -> None:
    """Out of sys.modules, and out of the package that the import system bound it in."""
    module = sys.modules.pop(name, None)
    above, _, last = name.rpartition(".")
    package = sys.modules.get(above)
    if package is not None and module is not None and vars(package).get(last) is module:
        delattr(package, last)


def _has(path: Path) -> bool:
    return path.is_dir() or path.with_suffix(".py").is_file()


def _short(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
