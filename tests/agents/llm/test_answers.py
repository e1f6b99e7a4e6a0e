"""A model's answer is one exact word, or no action; nothing that text can hold makes a BUY of anything else."""

from __future__ import annotations

import re
import time
import unicodedata
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moondev_ibkr.agents.llm.answers import (
    LONGEST_REFUSAL,
    Answer,
    risk_answer,
    strategy_decisions,
    swarm_vote,
    trading_answer,
    without_thinking,
)


@dataclass
class Block:
    """A content block as the Anthropic client gives it."""

    text: str


@dataclass
class Thinking:
    """A block that carries no text."""

    thinking: str


@dataclass
class Response:
    """A model's response as the host has it."""

    content: Any


def words(text: object, count: int) -> list[str]:
    return [answer.word for answer in strategy_decisions(text, count)]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("BUY", "BUY"),
        ("sell", "SELL"),
        ("Do Nothing", "NOTHING"),
        ("NOTHING\nThe trend is unclear.", "NOTHING"),
        ("**SELL**\n\nbecause RSI is above 80", "SELL"),
        ("\n\r\n   __Buy__.  \nreason", "BUY"),
        ("`BUY`", "BUY"),
        ("### SELL\nwhy", "SELL"),
        ("> BUY", "BUY"),
        ("- **BUY**", "BUY"),
        ("1. SELL\nConfidence: 80%", "SELL"),
        ("“BUY”", "BUY"),
        ('"Do nothing."', "NOTHING"),
        ("**BUY.**", "BUY"),
        ("```\nSELL\n```", "SELL"),
        ("---\nBUY", "BUY"),
        ("<think>I could SELL\nSELL\n</think>\n\nBUY", "BUY"),
        ("so I should SELL\n</think>\nBUY", "BUY"),
        ("BUY\nI would not SELL this one.\nBUY", "BUY"),
    ],
)
def test_a_line_of_one_word_counts_in_any_ordinary_markdown(text, word):
    assert trading_answer(text) == Answer(word)
    assert swarm_vote(text) == Answer(word)


@pytest.mark.parametrize(
    "text",
    [
        "**SELL** because the trend broke",
        "Let me think...",
        "I would not BUY",
        "BUY or SELL",
        "BUY!",
        "BUY...",
        "BUY: strong momentum",
        "Action: BUY",
        "The answer is below\nBUY",
        "**BUY",
        "BUY**",
        "-BUY",
        "BUYBUY",
        "BUY SELL",
        "BUY\u200b",
        "\ufeffBUY",
        "ＢＵＹ",
        "ſELL",
        "NOTHıNG",
        "<think>BUY",
        "<think>maybe</think> <think>\nBUY",
        "",
        "   \n\t\n",
        "```\n```",
        "{'action': 'BUY'}",
        "[TextBlock(citations=None, text='BUY', type='text')]",
        None,
        True,
        7,
        b"BUY",
        {"action": "BUY"},
        ["BUY"],
        [],
        object(),
    ],
)
def test_everything_else_is_nothing_and_says_what_came(text):
    answer = trading_answer(text)
    assert answer.word == "NOTHING"
    assert answer.refused
    assert swarm_vote(text) == answer


@pytest.mark.parametrize("text", ["BUY\nSELL", "- BUY\n- SELL\n- NOTHING", "SELL\nwait\n**Buy**.", "BUY\nDo Nothing"])
def test_a_second_word_that_differs_contradicts_the_first(text):
    answer = trading_answer(text)
    assert (answer.word, "later line" in (answer.refused or "")) == ("NOTHING", True)


def test_text_is_taken_out_of_blocks_and_responses():
    assert trading_answer([Thinking("SELL"), Block("BUY\nbecause")]) == Answer("BUY")
    assert trading_answer([{"type": "text", "text": "SELL"}]) == Answer("SELL")
    assert trading_answer(Response("SELL")) == Answer("SELL")
    assert trading_answer(Response([Block("BUY")])) == Answer("BUY")
    assert trading_answer([Block("BUY"), Block("SELL")]).word == "NOTHING"
    assert trading_answer([Thinking("BUY")]).refused is not None
    assert trading_answer(Response(None)).refused is not None


def test_a_swarm_member_that_failed_votes_for_nothing_and_says_so():
    assert swarm_vote({"response": "Buy", "success": True}) == Answer("BUY")
    assert swarm_vote({"response": Response("**Sell**"), "success": True}) == Answer("SELL")
    failed = swarm_vote({"response": "Buy", "success": False, "error": "queue full"})
    assert (failed.word, failed.refused) == ("NOTHING", "the model failed: 'queue full'")
    assert swarm_vote({"response": None, "success": True}).refused is not None


def test_a_refusal_is_short_and_free_of_control_characters():
    refused = trading_answer("\x1b[31mBUY\x07\u202e\x00 now\r" * 50).refused
    assert refused is not None
    assert len(refused) <= LONGEST_REFUSAL
    assert not [letter for letter in refused if unicodedata.category(letter).startswith("C")]


@pytest.mark.parametrize("text", ["*" * 400_000, ">" * 400_000, "<think>" * 100_000, "#" * 400_000, "," * 400_000])
def test_a_hostile_text_is_read_in_little_time(text):
    begun = time.perf_counter()
    assert trading_answer(text).word == "NOTHING"
    assert words(text, 3) == ["REJECT"] * 3
    assert risk_answer(text).word == "NOTHING"
    assert time.perf_counter() - begun < 5


WRAPPERS = [("**", "**"), ("__", "__"), ("*", "*"), ("`", "`"), ('"', '"'), ("“", "”")]
LEADS = ["", "> ", "# ", "### ", "- ", "* ", "+ ", "1. ", "> - "]
CASES = [str.upper, str.lower, str.title]
PROSE = st.lists(st.sampled_from(["", "The RSI is at 25.", "I would not buy or sell more.", "Confidence: 70%"]))


@given(
    word=st.sampled_from(["BUY", "SELL", "NOTHING", "DO NOTHING"]),
    case=st.sampled_from(CASES),
    wraps=st.lists(st.sampled_from(WRAPPERS), max_size=3),
    lead=st.sampled_from(LEADS),
    period=st.sampled_from(["", "."]),
    before=st.sampled_from(["", "\n \n", "<think>SELL\nBUY</think>\n"]),
    prose=PROSE,
)
def test_a_word_comes_back_out_of_markdown(word, case, wraps, lead, period, before, prose):
    line = case(word)
    for opening, closing in wraps:
        line = opening + line + closing
    text = "\n".join([before + lead + line + period, *prose])
    assert trading_answer(text) == Answer(word.removeprefix("DO "))


#: Pieces that make words, marks and lines likely.
PIECES = ["BUY", "buy", "SELL", "Nothing", "not", "or", "*", "**", "_", "`", ".", "!", "-", "#", "```", "'", ":"]
TAGS = ["<think>", "</think>", "\u200b", "ſ", "1.", " ", "\n", "\r", "\nSELL\n", "> ", "- ", "I would "]
FRAGMENTS = st.lists(st.sampled_from([*PIECES, *TAGS]), max_size=12).map("".join)
MARKS = r"""[\s>#*+_`"'“”‘’«»\d.)-]*"""


@given(text=st.one_of(st.text(), FRAGMENTS))
def test_no_text_without_an_exact_line_gives_an_action(text):
    answer = trading_answer(text)
    if answer.word == "NOTHING":
        return
    assert answer.refused is None
    lines = re.split("[\r\n]", without_thinking(text))
    assert any(re.fullmatch(MARKS + answer.word + MARKS, line, re.IGNORECASE | re.ASCII) for line in lines)
    other = {"BUY": "SELL", "SELL": "BUY"}[answer.word]
    assert not any(line.strip().upper() == other for line in lines if line.isascii())


@given(text=st.one_of(st.text(), FRAGMENTS), count=st.integers(0, 4))
def test_text_without_the_words_executes_nothing_and_lifts_no_limit(text, count):
    answers = strategy_decisions(text, count)
    assert len(answers) == count
    assert {answer.word for answer in answers} <= {"REJECT"}
    assert all(answer.refused for answer in answers)
    assert risk_answer(text) == Answer("NOTHING", risk_answer(text).refused)


@pytest.mark.parametrize(
    ("text", "decisions"),
    [
        ("EXECUTE signal_1, REJECT signal_2", ["EXECUTE", "REJECT"]),
        ("**EXECUTE signal_1, REJECT signal_2**\nboth are strong", ["EXECUTE", "REJECT"]),
        ("**EXECUTE** signal_1, **REJECT** signal_2.", ["EXECUTE", "REJECT"]),
        ('"EXECUTE", "REJECT"', ["EXECUTE", "REJECT"]),
        ("reject, execute", ["REJECT", "EXECUTE"]),
        ("REJECT signal_2, EXECUTE signal_1", ["EXECUTE", "REJECT"]),
        ("EXECUTE signal_1, maybe signal_2", ["EXECUTE", "REJECT"]),
        ("EXECUTE signal_1, EXECUTE signal_2\nREJECT signal_2", ["EXECUTE", "REJECT"]),
        ("EXECUTE, EXECUTE\n**REJECT**", ["REJECT", "REJECT"]),
        ("REJECT, REJECT\nEXECUTE, EXECUTE", ["REJECT", "REJECT"]),
    ],
)
def test_strategy_decisions_are_read_in_the_order_of_the_signals(text, decisions):
    assert words(text, 2) == decisions


@pytest.mark.parametrize(
    "text",
    [
        "EXECUTE",
        "EXECUTE signal_1",
        "EXECUTE signal_1, EXECUTE signal_1",
        "EXECUTE signal_1, EXECUTE signal_3",
        "EXECUTE, EXECUTE, EXECUTE",
        "I would EXECUTE signal_1, then EXECUTE signal_2",
        "DO NOT EXECUTE signal_1, DO NOT EXECUTE signal_2",
        "EXECUTED, EXECUTED",
        "Here is my view:\nEXECUTE, EXECUTE",
        "",
        None,
    ],
)
def test_decisions_that_are_not_exact_reject_and_say_why(text):
    answers = strategy_decisions(text, 2)
    assert [answer.word for answer in answers] == ["REJECT", "REJECT"]
    assert all(answer.refused for answer in answers)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("CLOSE_ALL", "CLOSE_ALL"),
        ("CLOSE\\_ALL\nlosses keep growing", "CLOSE_ALL"),
        ("**HOLD_POSITIONS**\nreason", "HOLD_POSITIONS"),
        ([Block("HOLD_POSITIONS\nthe CLOSE_ALL case is weak")], "HOLD_POSITIONS"),
        ("OVERRIDE: AAPL is at support", "OVERRIDE"),
        ("**OVERRIDE:** AAPL is at support", "OVERRIDE"),
        ("**OVERRIDE**: AAPL is at support", "OVERRIDE"),
        ("RESPECT_LIMIT: no reason to override", "RESPECT_LIMIT"),
        ("Respect_Limit", "RESPECT_LIMIT"),
    ],
)
def test_risk_answers(text, word):
    assert risk_answer(text) == Answer(word)


@pytest.mark.parametrize(
    "text",
    [
        "CLOSE_ALL: now",
        "CLOSE_ALL positions",
        "Do not OVERRIDE",
        "OVERRIDE the limit",
        "OVERRIDE: no, RESPECT_LIMIT",
        "OVERRIDE: <detailed reason>\nor\nRESPECT_LIMIT: <detailed reason>",
        "CLOSE_ALL\nHOLD_POSITIONS",
        "[TextBlock(text='CLOSE_ALL', type='text')]",
        "I cannot override",
        "",
        None,
    ],
)
def test_a_risk_answer_that_is_not_exact_neither_closes_nor_lifts_a_limit(text):
    answer = risk_answer(text)
    assert answer.word == "NOTHING"
    assert answer.refused
