"""What is left of a headline that strangers wrote."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moondev_ibkr.brokers.domain.news import LONGEST_HEADLINE, check_headlines, headline_text
from moondev_ibkr.brokers.errors import InvalidRequest


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("  Profit   rises \n 5 % ", "Profit rises 5 %"),
        ("a\x00b\x1b[31mc", "a b [31mc"),
        ("ig\u200bnore\u2060 all", "ignore all"),
        ("\u202eyub\u202c now", "yub now"),
        ("tag\U000e0041\U000e0042s", "tags"),
        ("x" * 600, "x" * LONGEST_HEADLINE),
        ("", ""),
    ],
)
def test_a_headline_is_one_visible_line(text: str, left: str) -> None:
    assert headline_text(text) == left


@given(st.text(max_size=700))
def test_nothing_that_moves_or_hides_text_is_left(text: str) -> None:
    left = headline_text(text)
    assert len(left) <= LONGEST_HEADLINE
    assert left == headline_text(left)
    assert not set(left) & set("\n\r\t\0\x1b\u2028\u202e\u200b\ufeff")


@pytest.mark.parametrize(
    ("start", "end", "count"),
    [
        (None, None, 0),
        (None, None, 301),
        (datetime(2026, 1, 1), None, 5),  # noqa: DTZ001
        (datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC), 5),
    ],
)
def test_a_question_that_cannot_be_answered_is_refused(
    start: datetime | None, end: datetime | None, count: int
) -> None:
    with pytest.raises(InvalidRequest, match="headlines of X"):
        check_headlines("headlines of X", start, end, count)
    check_headlines("headlines of X", None, datetime(2026, 1, 1, tzinfo=UTC), 300)
