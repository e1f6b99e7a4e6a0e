"""Hooks reach a module right after its own code, stand in for one that cannot run, and are taken back exactly."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import moondev_ibkr.brokers.errors
import pytest
from moondev_ibkr.agents.hooks.import_hooks import AliasFinder, Hook, HookFinder
from moondev_ibkr.agents.hooks.patches import Patches


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package `src` of three modules, importable, and gone afterwards."""
    package = tmp_path / "src"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "prices.py").write_text("def price(token):\n    return 1\n")
    (package / "broken.py").write_text("import sys\nhalf = True\nsys.exit(1)\n")
    (package / "user.py").write_text("from src.prices import price\n")
    kept = {name: module for name, module in sys.modules.items() if name == "src" or name.startswith("src.")}
    for name in kept:
        del sys.modules[name]
    monkeypatch.syspath_prepend(str(tmp_path))
    before = list(sys.meta_path)
    yield tmp_path.resolve()
    sys.meta_path[:] = before
    for name in [name for name in sys.modules if name in ("src", "prices") or name.startswith("src.")]:
        del sys.modules[name]
    sys.modules.update(kept)


def hooked(root: Path, **hooks: Hook) -> HookFinder:
    finder = HookFinder(root, {f"src.{name}": hook for name, hook in hooks.items()}, {})
    sys.meta_path.insert(0, finder)
    return finder


def dearer(module: ModuleType) -> None:
    module.price = lambda token: 2  # type: ignore[attr-defined]


def test_a_hook_is_on_before_anybody_can_take_a_name_from_the_module(root: Path) -> None:
    finder = hooked(root, prices=Hook("dearer", dearer))
    assert importlib.import_module("src.user").price("x") == 2
    assert finder.applied == {"src.prices": "dearer"}


def test_the_second_copy_without_src_in_front_is_hooked_too(root: Path) -> None:
    hooked(root, prices=Hook("dearer", dearer))
    sys.path.append(str(root / "src"))
    try:
        assert importlib.import_module("prices").price("x") == 2
    finally:
        sys.path.remove(str(root / "src"))


def test_a_module_of_the_same_name_elsewhere_is_left_alone(root: Path, tmp_path: Path) -> None:
    hooked(root / "elsewhere", prices=Hook("dearer", dearer))
    assert importlib.import_module("src.prices").price("x") == 1


def test_a_module_that_ends_the_process_is_replaced_whole(root: Path) -> None:
    reasons: list[BaseException] = []

    def alone(module: ModuleType, reason: BaseException) -> None:
        reasons.append(reason)
        dearer(module)

    finder = hooked(root, broken=Hook("dearer", dearer, alone=alone))
    module = importlib.import_module("src.broken")
    assert module.price("x") == 2
    assert not hasattr(module, "half"), "half of a module stayed"
    assert isinstance(reasons[0], SystemExit)
    assert "its own code cannot run here" in finder.applied["src.broken"]


def test_without_a_stand_in_the_modules_own_error_is_told(root: Path) -> None:
    hooked(root, broken=Hook("none", dearer))
    with pytest.raises(SystemExit):
        importlib.import_module("src.broken")
    assert "src.broken" not in sys.modules


def test_inside_a_host_our_modules_are_the_same_objects_under_both_names(root: Path) -> None:
    finder = AliasFinder("moondev_ibkr", root)
    sys.meta_path.insert(0, finder)
    mine = importlib.import_module("src.brokers.errors")
    assert mine is moondev_ibkr.brokers.errors
    assert mine.__spec__ is not None
    assert mine.__spec__.name == "moondev_ibkr.brokers.errors"
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("src.brokers.no_such_module")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("src.config.settings")
    finder.forget()
    assert not [name for name in sys.modules if name.startswith("src.brokers")]
    assert sys.modules["moondev_ibkr.brokers.errors"] is mine


def test_a_package_that_the_host_has_itself_stays_the_hosts(root: Path) -> None:
    (root / "src" / "brokers").mkdir()
    (root / "src" / "brokers" / "__init__.py").write_text("whose = 'host'\n")
    sys.meta_path.insert(0, AliasFinder("moondev_ibkr", root))
    assert importlib.import_module("src.brokers").whose == "host"


def test_undo_takes_back_everything_in_reverse_order() -> None:
    module = ModuleType("m")
    module.kept, module.rows, module.table = 1, ["a"], {"x": 1}  # type: ignore[attr-defined]
    rows = module.rows
    patches = Patches()
    patches.set(module, "kept", 2)
    patches.set(module, "kept", 3)
    patches.set(module, "new", 1)
    patches.fill_list(module.rows, ["b", "c"])
    patches.set_item(module.table, "x", 2)
    patches.set_item(module.table, "y", 2)
    assert rows == ["b", "c"]
    patches.undo()
    assert (module.kept, module.rows, module.table) == (1, ["a"], {"x": 1})
    assert module.rows is rows
    assert not hasattr(module, "new")
