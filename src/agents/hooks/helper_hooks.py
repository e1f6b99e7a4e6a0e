"""The host's nice_funcs modules, function by function: IB for tickers, the host's own code for the rest."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from ...brokers.errors import ConfigurationError, InvalidOrder, NotSupported
from .desk import Desk
from .helpers_table import HELPERS, Helper
from .patches import Patches
from .routing import Route, Routing

Function = Callable[..., Any]

#: What the host's helpers say of money itself; every other function refuses it.
_CASH: Mapping[str, Callable[[Desk], float]] = {
    "get_token_balance_usd": lambda desk: desk.cash(),
    "get_position": lambda desk: desk.cash(),
    "token_price": lambda desk: 1.0,
}


class HelperHook:
    """Puts the functions of one façade into the host's module of that shape."""

    def __init__(self, name: str, facade: object, desk: Desk, routing: Routing, patches: Patches) -> None:
        self.name = name
        self._facade = facade
        self._desk = desk
        self._routing = routing
        self._patches = patches

    def apply(self, module: ModuleType) -> None:
        """All functions or none. Raises ConfigurationError for a host whose signatures are others."""
        wrong = mismatches(self.name, module)
        if wrong:
            raise ConfigurationError(
                f"hook of {self.name}",
                "; ".join(wrong),
                "this host is of another version: nothing of the module was hooked, so nothing of it may trade",
            )
        for helper in HELPERS[self.name]:
            original = getattr(module, helper.name, None)
            self._patches.set(module, helper.name, self._routed(helper, original, None))

    def alone(self, module: ModuleType, reason: BaseException) -> None:
        """A module of IB functions only; other tokens, and the host's other functions, get an error that tells why."""
        for helper in HELPERS[self.name]:
            self._patches.set(module, helper.name, self._routed(helper, None, reason))
        for name in _functions_of(module):
            if not hasattr(module, name):
                self._patches.set(module, name, _cannot_run(f"{self.name}.{name}", reason))

    def _routed(self, helper: Helper, original: Function | None, reason: BaseException | None) -> Function:
        ib: Function = getattr(self._facade, helper.name)
        first = helper.parameters[0] if helper.parameters else ""

        def call(*args: Any, **named: Any) -> Any:
            if not helper.by_token:
                return ib(*args, **named)
            token = args[0] if args else named.get(first, named.get("symbol"))
            route = self._routing.of(token)
            if route is Route.IB:
                return ib(*args, **named)
            if route is Route.CASH:
                return self._of_cash(helper.name, str(token))
            if original is None:
                why = (
                    f"the host's own function cannot run here ({reason})" if reason is not None else "the host has none"
                )
                raise NotSupported(f"{helper.name} of {token}", f"it is no US ticker, and {why}", "use a ticker")
            return original(*args, **named)

        call.__name__ = call.__qualname__ = helper.name
        call.__doc__ = ib.__doc__
        call.__signature__ = inspect.signature(ib)  # type: ignore[attr-defined]  # read by inspect
        call.__moondev_original__ = original  # type: ignore[attr-defined]  # for a late attach, and for --check
        return call

    def _of_cash(self, name: str, token: str) -> float:
        answer = _CASH.get(name)
        if answer is None:
            raise InvalidOrder(f"{name} of {token}", "it stands for the account's cash, which is not traded")
        return answer(self._desk)


def _functions_of(module: ModuleType) -> list[str]:
    """Names of the functions that the module's file defines, whether or not its code can run here."""
    file = Path(getattr(module, "__file__", None) or "")
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):
        return []
    return [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]


def _cannot_run(what: str, reason: BaseException) -> Function:
    def call(*args: Any, **named: Any) -> Any:
        raise NotSupported(what, f"the host's own function cannot run here ({reason})", "mend its import")

    return call


def mismatches(name: str, module: ModuleType) -> list[str]:
    """Where the host's functions take other parameters than its callers (and so the hooks) name."""
    wrong = []
    for helper in HELPERS[name]:
        original = getattr(module, helper.name, None)
        if original is None or helper.added:
            continue
        has = tuple(inspect.signature(original).parameters)
        both = min(len(has), len(helper.parameters))
        beyond = [row for row in has[both:] if _required(original, row)]
        if has[:both] != helper.parameters[:both] or beyond:
            wrong.append(f"{helper.name} takes ({', '.join(has)}), the hook ({', '.join(helper.parameters)})")
    return wrong


def _required(function: Function, name: str) -> bool:
    parameter = inspect.signature(function).parameters[name]
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return parameter.default is inspect.Parameter.empty and parameter.kind not in variable
