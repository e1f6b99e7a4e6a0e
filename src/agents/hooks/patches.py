"""Changes to a host's modules that can be taken back exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, MutableMapping
from typing import Any

_MISSING = object()


class Patches:
    """Every change is remembered; `undo` takes them back, the last one first."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []

    def set(self, owner: Any, name: str, value: Any) -> None:
        """`setattr`, on a module, a class or an instance's own dictionary."""
        before = vars(owner).get(name, _MISSING)
        setattr(owner, name, value)
        self.on_undo(lambda: delattr(owner, name) if before is _MISSING else setattr(owner, name, before))

    def set_item(self, table: MutableMapping[Any, Any], key: Any, value: Any) -> None:
        before = table.get(key, _MISSING)
        table[key] = value

        def back() -> None:
            if before is _MISSING:
                table.pop(key, None)
            else:
                table[key] = before

        self.on_undo(back)

    def fill_list(self, rows: list[Any], values: Iterable[Any]) -> None:
        """New content for the same list object: the host shares it through star imports."""
        before = list(rows)
        rows[:] = values
        self.on_undo(lambda: rows.__setitem__(slice(None), before))

    def on_undo(self, back: Callable[[], None]) -> None:
        self._undo.append(back)

    def undo(self) -> None:
        while self._undo:
            self._undo.pop()()
