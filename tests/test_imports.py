"""Who may import whom, as one table; and importing costs no network, file or environment access."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import moondev_ibkr
import pytest

SRC = Path(moondev_ibkr.__file__).parent

#: (folder or module, what it may import of ours). The most specific row counts. "domain" stands for brokers.domain.
ALLOWED: dict[str, tuple[str, ...]] = {
    "brokers.errors": (),
    "brokers.domain": ("brokers.errors", "brokers.domain"),
    "config": ("brokers.errors", "config"),
    "brokers": ("brokers", "config"),
    "brokers.interactive_brokers": ("brokers", "config"),
    "brokers.simulation": (
        "brokers.errors",
        "brokers.domain",
        "brokers.costs",
        "brokers.calendar",
        "brokers.simulation",
    ),
    "brokers.simulation.paper_trading": ("brokers",),
    "brokers.simulation.paper_port": ("brokers.order_port", "brokers.domain", "brokers.errors", "brokers.simulation"),
    "agents": (
        "brokers.base_broker",
        "brokers.smart_orders",
        "brokers.registry",
        "brokers.sync",
        "brokers.sqlite_wal",
        "brokers.domain",
        "brokers.errors",
        "config",
        "agents",
    ),
    "cli": ("brokers", "config", "agents", "cli"),
    "": (
        "brokers.base_broker",
        "brokers.registry",
        "brokers.smart_orders",
        "brokers.sync",
        "brokers.domain",
        "brokers.errors",
    ),
    "__main__": ("cli",),
}

#: Even where the row above allows a whole folder.
FORBIDDEN: dict[str, tuple[str, ...]] = {
    "brokers.interactive_brokers": ("brokers.simulation",),
    "brokers.simulation": ("brokers.interactive_brokers",),
    "agents": ("brokers.interactive_brokers", "brokers.simulation"),
}

#: Packages that only one place may import.
ONLY_IN: dict[str, str] = {
    "ib_async": "brokers.interactive_brokers.ib_async_client",
    "eventkit": "brokers.interactive_brokers.ib_async_client",
    "requests": "brokers.interactive_brokers.ib_portal_client",
    "websocket": "brokers.interactive_brokers.ib_portal_client",
    "typer": "cli",
    "rich": "cli",
}


def modules() -> list[tuple[str, Path]]:
    names = []
    for path in sorted(SRC.rglob("*.py")):
        parts = path.relative_to(SRC).with_suffix("").parts
        names.append((".".join(parts[:-1] if parts[-1] == "__init__" else parts), path))
    return names


def imports(name: str, path: Path) -> list[str]:
    """Absolute names of everything a module imports; ours without the package's own name."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.append(node.module or "")
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1]
            stem = [part for part in (*base, *(node.module or "").split(".")) if part]
            candidates = [".".join([*stem, alias.name]) for alias in node.names]
            found += ["~" + (full if is_module(full) else ".".join(stem)) for full in candidates]
    return found


def is_module(name: str) -> bool:
    path = SRC / Path(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").exists()


def row_for(name: str) -> str:
    rows = [row for row in ALLOWED if row == name or row == "" or name.startswith(row + ".")]
    return max(rows, key=len)


def within(name: str, scope: str) -> bool:
    return name == scope or name.startswith(scope + ".")


@pytest.mark.parametrize(("name", "path"), modules(), ids=lambda value: str(value) if isinstance(value, str) else "")
def test_module_imports_only_what_its_row_allows(name: str, path: Path) -> None:
    row = row_for(name)
    banned = [scope for prefix, scopes in FORBIDDEN.items() if within(name, prefix) for scope in scopes]
    for target in imports(name, path):
        if target.startswith("~"):
            ours = target[1:]
            if name in ("", "cli") and ours.startswith("agents"):
                continue
            assert any(within(ours, scope) for scope in (*ALLOWED[row], row)), f"{name} imports {ours}"
            assert not any(within(ours, scope) for scope in banned), f"{name} imports {ours}"
        else:
            assert not target.startswith(("src", "moondev_ibkr")), f"{name} imports {target} absolutely"
            package = target.split(".")[0]
            if package in ONLY_IN:
                assert within(name, ONLY_IN[package]), f"{name} imports {target}"


def test_domain_needs_the_standard_library_only() -> None:
    for name, path in modules():
        if within(name, "brokers.domain") or name == "brokers.errors":
            for target in imports(name, path):
                if not target.startswith("~"):
                    assert target.split(".")[0] in sys.stdlib_module_names, f"{name} imports {target}"


def test_only_the_settings_read_the_environment() -> None:
    for name, path in modules():
        if within(name, "config"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
                assert node.attr not in ("environ", "getenv", "putenv"), f"{name} reads the environment"


PROBE = """
import importlib, os, pkgutil, socket, sys
before = dict(os.environ)
def refuse(*_, **__):
    raise AssertionError("network at import")
socket.socket.connect = refuse
socket.create_connection = refuse
import moondev_ibkr
for module in pkgutil.walk_packages(moondev_ibkr.__path__, "moondev_ibkr."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
assert dict(os.environ) == before
import threading
assert threading.active_count() == 1, threading.enumerate()
"""


def test_importing_everything_touches_neither_network_nor_environment(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
