"""Run one of a host's programs, unmodified, with the hooks on: find it, import it, and start what it would start."""

from __future__ import annotations

import ast
import difflib
import importlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from ...brokers.domain.instrument import normalize_symbol
from ...brokers.errors import ConfigurationError, InvalidInstrument, UsageError
from .attach import Attachment
from .routing import Route, Routing

#: Folders of the host that hold programs, in the order in which a bare name is looked for.
FOLDERS = ("src/agents", "", "src", "src/data")


@dataclass(frozen=True, slots=True)
class Program:
    """A program of the host. `module` is the name under which its own imports find it."""

    module: str
    file: Path

    @property
    def only_looks(self) -> bool:
        """The AEGS scanners print what they find; none of them places an order."""
        return self.module.startswith("aegs_") and "scanner" in self.module


def find_program(root: Path, name: str) -> Program:
    """A file of the host by its bare name, its path or its module. Raises UsageError with what comes near."""
    asked = name.removesuffix(".py")
    as_path = Path(asked.replace(".", "/") if "/" not in asked else asked)
    for folder in ("", *FOLDERS):
        file = (root / folder / as_path).with_suffix(".py").resolve()
        if file.is_file() and root in file.parents:
            _readable(file)
            return Program(".".join(file.relative_to(root).with_suffix("").parts), file)
    known = sorted({file.stem for folder in FOLDERS for file in (root / folder).glob("*.py")})
    near = difflib.get_close_matches(as_path.name, known, 3, 0.4)
    raise UsageError(
        f"agent {name}", f"{root} has no such program", f"did you mean {', '.join(near)}?" if near else "give its path"
    )


def _readable(file: Path) -> None:
    """Raises ConfigurationError for a program that this Python cannot read, before anything is started for it."""
    try:
        ast.parse(file.read_bytes(), str(file))
    except (SyntaxError, ValueError) as error:
        running = ".".join(map(str, sys.version_info[:2]))
        raise ConfigurationError(
            f"program {file}",
            f"line {getattr(error, 'lineno', '?')}: {getattr(error, 'msg', error)}",
            f"this is Python {running}; the host may want another",
        ) from error


def named_tickers(program: Program, root: Path) -> tuple[str, ...]:
    """Tickers that a scanner will ask for, read from its lists of texts and from the host's goldmine registry: a paper
    market has to be told them before it opens."""
    texts: list[str] = []
    for node in ast.walk(ast.parse(program.file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.List) and node.elts:
            values = [
                item.value for item in node.elts if isinstance(item, ast.Constant) and isinstance(item.value, str)
            ]
            if len(values) == len(node.elts):
                texts += values
    registry = root / "aegs_goldmine_registry.json"
    if registry.is_file() and registry.name in program.file.read_text(encoding="utf-8"):
        tiers = json.loads(registry.read_text(encoding="utf-8")).get("goldmine_symbols", {})
        texts += [symbol for tier in tiers.values() for symbol in tier.get("symbols", {})]
    return tuple(_tickers(texts))


def _tickers(texts: Iterable[str]) -> list[str]:
    routing, found = Routing(), []
    for text in texts:
        if text.isupper() and routing.of(text) is Route.IB:
            try:
                found.append(normalize_symbol(text))
            except InvalidInstrument:
                continue
    return list(dict.fromkeys(found))


def _one_strategy_round(module: ModuleType) -> None:
    """What the host's main.py does with this agent: the signals of every active token, once."""
    agent = module.StrategyAgent()
    for token in importlib.import_module("src.config").get_active_tokens():
        agent.get_signals(token)


#: One round of an agent that would run for ever, by module.
ONCE: Mapping[str, Callable[[ModuleType], Any]] = MappingProxyType(
    {
        "src.agents.trading_agent": lambda module: module.TradingAgent().run_trading_cycle(),
        "src.agents.risk_agent": lambda module: module.RiskAgent().run(),
        "src.agents.strategy_agent": _one_strategy_round,
    }
)


def run_program(
    attachment: Attachment,
    program: Program,
    *,
    arguments: Sequence[str] = (),
    once: bool = False,
    constants: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Import the program and run its `if __name__ == "__main__"` block, else its `main()`, else one round of it.

    `constants` are set in the host's config and in the program where those have the name. Runs in the host's folder, as
    its programs expect. What the program raises is raised.
    """
    if once and program.module not in ONCE:
        raise UsageError(
            f"--once with {program.file.name}", "it ends by itself, or is not known to have rounds", "leave it out"
        )
    os.chdir(attachment.root)
    sys.argv = [str(program.file), *arguments]
    # A script finds its neighbours (the host's main.py wants `config`); last, so that they hide nothing of others.
    if str(program.file.parent) not in sys.path:
        sys.path.append(str(program.file.parent))
    found = set_constants(importlib.import_module("src.config"), constants)
    module = importlib.import_module(program.module)
    found |= set_constants(module, constants)
    unknown = sorted(set(constants) - found)
    if unknown:
        raise UsageError(
            f"--set {unknown[0]}", "neither the host's config nor the program has it", "check the spelling"
        )
    if once:
        ONCE[program.module](module)
    elif (block := main_block(program.file)) is not None:
        exec(block, vars(module))
    elif callable(getattr(module, "main", None)):
        module.main()
    elif program.module in ONCE:
        ONCE[program.module](module)


def set_constants(module: ModuleType, constants: Mapping[str, Any]) -> set[str]:
    """Names that the module has, set; a list keeps its identity, since others share it."""
    found = set()
    for name, value in constants.items():
        if not hasattr(module, name):
            continue
        before = getattr(module, name)
        if isinstance(before, list) and isinstance(value, list | tuple):
            before[:] = value
        else:
            setattr(module, name, value)
        found.add(name)
    return found


def parse_constant(text: str) -> tuple[str, Any]:
    """NAME=VALUE; the value as Python writes it, else as text. Raises UsageError."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip().isidentifier():
        raise UsageError(f"--set {text}", "it is not NAME=VALUE", "for instance --set USE_SWARM_MODE=False")
    try:
        return name.strip(), ast.literal_eval(value.strip())
    except (ValueError, SyntaxError):
        return name.strip(), value.strip()


def main_block(file: Path) -> Any:
    """The compiled body of the file's `if __name__ == "__main__":`, None when it has none."""
    for node in ast.parse(file.read_text(encoding="utf-8"), str(file)).body:
        if isinstance(node, ast.If) and ast.unparse(node.test).replace('"', "'") == "__name__ == '__main__'":
            return compile(ast.Module(node.body, []), str(file), "exec")
    return None
