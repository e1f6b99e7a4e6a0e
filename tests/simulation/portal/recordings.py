"""What real IB servers answered, and whether an answer of ours has the same shape: keys, JSON types, absences.

    @needs_recordings
    def test_…(rig): assert_like("MarketData_GET-history", rig.get(…))

The recordings lie beside the repository (../shared/recordings/portal); values are not compared. Whatever differs is a
row of EXCEPTIONS with its reason, and a row that nothing needs any more fails too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from moondev_ibkr.brokers.simulation.portal.request import Answer

SHARED = Path(__file__).resolve().parents[4] / "shared"
FOLDER = SHARED / "recordings" / "portal"

needs_recordings = pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared beside this checkout")


class Kind(StrEnum):
    """How an answer may differ at a path."""

    ABSENT = "absent"  #: recorded, and not in ours
    EXTRA = "extra"  #: in ours, and not recorded
    TYPE = "type"  #: another JSON type
    EMPTY = "empty"  #: our list is empty
    STATUS = "status"  #: another status; the path is ""


@dataclass(frozen=True)
class Deviation:
    """`path` as `differences` writes it: "data[].o"."""

    path: str
    kind: Kind
    why: str


#: Recording -> where ours differs.
EXCEPTIONS: dict[str, tuple[Deviation, ...]] = {
    "MarketData_GET-history": (
        Deviation("points", Kind.EXTRA, "the recording was cut to three bars; client-portal.md section 2.2 has it"),
        Deviation("travelTime", Kind.EXTRA, "as points"),
    ),
    "Portfolio_GET-portfolio-summary": tuple(
        Deviation(key, Kind.EXTRA, "the recording was cut to five rows; IB tells over a hundred")
        for key in (
            "accountready",
            "accounttype",
            "accruedcash",
            "availablefunds",
            "equitywithloanvalue",
            "excessliquidity",
            "fullavailablefunds",
            "fullexcessliquidity",
            "fullinitmarginreq",
            "fullmaintmarginreq",
            "grosspositionvalue",
            "maintmarginreq",
            "settledcash",
        )
    ),
}


def names() -> list[str]:
    """All recordings."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def recording(name: str) -> dict[str, Any]:
    """{"Request": …, "Response": {"StatusCode", "Headers", "Body"}}."""
    content: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return content


@dataclass
class Comparison:
    """`found` collects (path, kind, what it is in words)."""

    found: list[tuple[str, Kind, str]] = field(default_factory=list)

    def compare(self, path: str, theirs: Any, ours: Any) -> None:
        if word(theirs) != word(ours):
            self.found.append((path, Kind.TYPE, f"{path or 'the answer'}: {word(theirs)} at IB, {word(ours)} here"))
        elif isinstance(theirs, dict):
            self._objects(path, theirs, ours)
        elif isinstance(theirs, list) and theirs:
            self._lists(path, theirs, ours)

    def _objects(self, path: str, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
        theirs, ours = plain_keys(theirs), plain_keys(ours)
        for key in sorted(theirs.keys() | ours.keys()):
            inner = f"{path}.{key}" if path else key
            if key not in ours:
                self.found.append((inner, Kind.ABSENT, f"{inner}: only at IB"))
            elif key not in theirs:
                self.found.append((inner, Kind.EXTRA, f"{inner}: only here"))
            else:
                self.compare(inner, theirs[key], ours[key])

    def _lists(self, path: str, theirs: list[Any], ours: list[Any]) -> None:
        """Each of our rows has the shape of one of theirs; the nearest one is reported."""
        inner = f"{path}[]"
        if not ours:
            self.found.append((inner, Kind.EMPTY, f"{inner}: empty here"))
        for row in ours:
            self.found += min((differences(inner, model, row) for model in theirs), key=len)


def differences(path: str, theirs: Any, ours: Any) -> list[tuple[str, Kind, str]]:
    comparison = Comparison()
    comparison.compare(path, theirs, ours)
    return comparison.found


def word(value: Any) -> str:
    """The JSON type; whole and broken numbers are one."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "number"
    return {str: "text", list: "list", dict: "object"}[type(value)]


_ACCOUNT = re.compile(r"D?U\d+(\.Core)?")
_SYMBOL = re.compile(r"M?ES")


def plain_keys(value: Mapping[str, Any]) -> dict[str, Any]:
    """Keys that are accounts or the future's symbol under one name each."""
    found: dict[str, Any] = {}
    for key, content in value.items():
        name = "<account>" if _ACCOUNT.fullmatch(key) else "<symbol>" if _SYMBOL.fullmatch(key) else key
        found[name] = content
    return found


def assert_like(name: str, answer: Answer) -> None:
    """The status, the content type and the whole structure, less EXCEPTIONS[name]."""
    theirs = recording(name)["Response"]
    ours = json.loads(answer.encoded() or b"null")
    found = differences("", theirs["Body"], ours)
    if answer.status != theirs["StatusCode"]:
        found.append(("", Kind.STATUS, f"status {theirs['StatusCode']} at IB, {answer.status} here"))
    declared = {(row.path, row.kind) for row in EXCEPTIONS.get(name, ())}
    unexpected = [text for path, kind, text in found if (path, kind) not in declared]
    assert not unexpected, f"{name}: " + "; ".join(unexpected)
    stale = declared - {(path, kind) for path, kind, _ in found}
    assert not stale, f"{name}: exceptions that nothing needs: {stale}"
    assert answer.content_type == theirs["Headers"]["Content-Type"]
