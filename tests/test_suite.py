"""The suite's own tables name what exists."""

from __future__ import annotations

from tests.conftest import ROOT, UNMEASURED


def test_what_runs_unmeasured_is_there() -> None:
    assert [name for name in UNMEASURED if not (ROOT / name.partition("::")[0]).exists()] == []
