"""Strict reading of a language model's answer: one exact word, or no action and the reason.

A model's text comes from outside and may hold anything, a headline's instructions included. A word counts when a
whole line is that word after ordinary Markdown is taken off; nothing is searched for inside a sentence.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

Word: TypeAlias = Literal[
    "BUY", "SELL", "NOTHING", "EXECUTE", "REJECT", "CLOSE_ALL", "HOLD_POSITIONS", "OVERRIDE", "RESPECT_LIMIT"
]

#: What a line may be, in capitals, and the word that it stands for.
TRADING_WORDS: Mapping[str, Word] = {"BUY": "BUY", "SELL": "SELL", "NOTHING": "NOTHING", "DO NOTHING": "NOTHING"}
DECISION_WORDS: Mapping[str, Word] = {"EXECUTE": "EXECUTE", "REJECT": "REJECT"}
RISK_WORDS: Mapping[str, Word] = {
    "CLOSE_ALL": "CLOSE_ALL",
    "HOLD_POSITIONS": "HOLD_POSITIONS",
    "OVERRIDE": "OVERRIDE",
    "RESPECT_LIMIT": "RESPECT_LIMIT",
}

#: Longest `Answer.refused`, in characters.
LONGEST_REFUSAL = 80
#: Marks within marks that are taken off a line; deeper ones are left, and the line is then no word.
DEEPEST_MARKS = 6

_THINK_TAG = re.compile(r"<(/?)think(?:ing)?>", re.IGNORECASE)
_LEADING_MARK = re.compile(r"(?:>|#{1,6}(?=[\s*_`\"'A-Za-z])|[-*+]\s|\d{1,2}[.)]\s)\s*")
_FENCE = re.compile(r"(?:`{3,}|~{3,}|-{3,}|\*{3,}|_{3,})\Z")
#: Marks that surround a word: opening and closing.
_WRAPPERS = (("**", "**"), ("__", "__"), ("*", "*"), ("_", "_"), ("`", "`"), *zip("\"'“‘«", "\"'”’»", strict=True))
_SIGNAL = re.compile(r"signal_(\d{1,4})\Z", re.IGNORECASE | re.ASCII)
#: `OVERRIDE: reason`, the form that the host's prompt asks for; the mark may stand on either side of the colon.
_RISK_PREFIX = re.compile(r"(\*\*|__|`|)(OVERRIDE|RESPECT_LIMIT)(?::\1|\1:)(?=\s|\Z)", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Answer:
    """`word` is what may be acted on. `refused` is None for an exact answer, otherwise what came instead of one,
    at most 80 characters and free of control characters; `word` is then the one that does nothing."""

    word: Word
    refused: str | None = None


def trading_answer(text: object) -> Answer:
    """BUY, SELL or NOTHING from the answer of a trading model.

    The first line that is not blank, stripped of Markdown, must be exactly BUY, SELL, NOTHING or DO NOTHING in any
    case; a later line that is another of these words contradicts it. `text` is a string, a list of text blocks, or
    an object with `content` or `text`; everything else is NOTHING, refused. Never raises, whatever the text.
    """
    return _single_word(text, TRADING_WORDS)


def swarm_vote(response: object) -> Answer:
    """One member's vote, read like `trading_answer`.

    `response` is the text, the model's response, or the host's entry `{"response": …, "success": …}`; a member that
    failed votes NOTHING, refused, so that a caller can leave it out of the count. Never raises, whatever the text.
    """
    if isinstance(response, Mapping) and "success" in response:
        if response["success"] is not True:
            return Answer("NOTHING", _bounded("the model failed: ", response.get("error")))
        response = response.get("response")
    return trading_answer(response)


def strategy_decisions(text: object, count: int) -> list[Answer]:
    """EXECUTE or REJECT for each of `count` signals, in their order, from the host's StrategyAgent's model.

    The first line must be `EXECUTE signal_1, REJECT signal_2`, one part a signal, with or without its number. A part
    that is not exact is REJECT, refused; so are all of them when there are fewer or more parts than signals or the
    numbers do not name each signal once. A later line can only turn EXECUTE into REJECT. Never raises.
    """
    content = _content(text)
    lines = list(_lines(content)) if content is not None else []
    if content is None or not lines:
        return [Answer("REJECT", _nothing_to_read(text, content))] * count
    decisions = _decisions(lines[0]) if lines[0].count(",") == count - 1 else []
    places = [place if number is None else number for place, (_, _, number) in enumerate(decisions, 1)]
    if sorted(places) != list(range(1, count + 1)):
        return [Answer("REJECT", _bounded(f"not one decision for each of {count}: ", lines[0]))] * count
    answers = [Answer("REJECT")] * count
    for place, (piece, word, _) in zip(places, decisions, strict=True):
        answers[place - 1] = Answer(word) if word else Answer("REJECT", _bounded("not EXECUTE or REJECT: ", piece))
    for line in lines[1:]:
        _take_back(answers, line)
    return answers


def risk_answer(text: object) -> Answer:
    """CLOSE_ALL, HOLD_POSITIONS, OVERRIDE or RESPECT_LIMIT from the host's RiskAgent's model; otherwise NOTHING,
    refused, which neither closes positions nor lifts a limit.

    The first line must be exactly that word; OVERRIDE and RESPECT_LIMIT may be followed by a colon and the reason, as
    long as the reason does not name the other one. Never raises, whatever the text.
    """
    return _single_word(text, RISK_WORDS, prefixed=True)


def without_thinking(text: str) -> str:
    """The text without its <think> blocks: an unclosed one goes to the end, a close without an opening removes what
    stands before it (some models' templates open the block in the prompt)."""
    kept: list[str] = []
    position, thinking = 0, False
    for tag in _THINK_TAG.finditer(text):
        closing = bool(tag[1])
        if closing and not thinking:
            kept.clear()
        elif not closing and not thinking:
            kept.append(text[position : tag.start()])
        thinking = not closing
        position = tag.end()
    if not thinking:
        kept.append(text[position:])
    return "".join(kept).strip()


def _single_word(text: object, words: Mapping[str, Word], *, prefixed: bool = False) -> Answer:
    content = _content(text)
    lines = list(_lines(content)) if content is not None else []
    if content is None or not lines:
        return Answer("NOTHING", _nothing_to_read(text, content))
    first = _line_word(lines[0], words, prefixed)
    if first is None:
        return Answer("NOTHING", _bounded("no exact word first: ", lines[0]))
    for line in lines[1:]:
        other = _line_word(line, words, prefixed)
        if other is not None and other != first:
            return Answer("NOTHING", f"{first}, and on a later line {other}")
    return Answer(first)


def _line_word(line: str, words: Mapping[str, Word], prefixed: bool) -> Word | None:
    exact = words.get(_bare(line))
    if exact is not None or not prefixed:
        return exact
    plain = _unmarked(line).replace("\\_", "_")
    begun = _RISK_PREFIX.match(plain)
    if begun is None or (begun[2].upper() == "OVERRIDE" and "RESPECT_LIMIT" in plain.upper()):
        return None
    return words[begun[2].upper()]


def _decisions(line: str) -> list[tuple[str, Word | None, int | None]]:
    """(the part, its decision or None, its signal's number or None) of each part between commas.

    Marks may stand around each part or around the whole line.
    """
    parts = [(piece, *_decision(piece)) for piece in _unmarked(line).split(",")]
    if all(word for _, word, _ in parts):
        return parts
    return [(piece, *_decision(piece)) for piece in _unwrapped(line).split(",")]


def _decision(piece: str) -> tuple[Word | None, int | None]:
    """(the decision or None, the signal's number or None) of `EXECUTE signal_1`, where either word may be marked."""
    words = _bare(piece).split()
    decision = DECISION_WORDS.get(_bare(words[0])) if len(words) in (1, 2) else None
    if decision is None or len(words) == 1:
        return decision, None
    signal = _SIGNAL.match(_bare(words[1]))
    return (decision, int(signal[1])) if signal else (None, None)


def _take_back(answers: list[Answer], line: str) -> None:
    """A line of nothing but decisions below the first: what it rejects is not executed."""
    decisions = _decisions(line) if line.count(",") < len(answers) else []
    if not all(word for _, word, _ in decisions):
        return
    for _, word, number in decisions:
        for place, answer in enumerate(answers):
            if word == "REJECT" and answer.word == "EXECUTE" and number in (None, place + 1):
                answers[place] = Answer("REJECT", _bounded("rejected on a later line: ", line))


def _content(value: object) -> str | None:
    """The text of a string, of blocks that carry some, or of a response; None when there is none."""
    if isinstance(value, str):
        return value
    inner = value if isinstance(value, list | tuple) else _carried(value)
    if isinstance(inner, list | tuple):
        texts = [text for block in inner if isinstance(text := _carried(block), str)]
        return "\n".join(texts) if texts else None
    return inner if isinstance(inner, str) else None


def _carried(value: object) -> object:
    """What a block carries as `text` or a response as `content`; None when neither."""
    for name in ("text", "content"):
        inner = value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
        if inner is not None:
            return inner
    return None


def _lines(text: str) -> Iterator[str]:
    """Lines that hold more than white space, a code fence or a rule."""
    for line in re.split(r"\r\n|\r|\n", without_thinking(text)):
        stripped = line.strip()
        if stripped and not _FENCE.match(stripped):
            yield stripped


def _unmarked(line: str) -> str:
    """The line without quote, heading and list marks before it."""
    line = line.strip()
    for _ in range(DEEPEST_MARKS):
        mark = _LEADING_MARK.match(line)
        if mark is None:
            break
        line = line[mark.end() :]
    return line


def _unwrapped(line: str) -> str:
    """The line without leading marks, surrounding marks and quotes, and one closing period."""
    line, dotted = _unmarked(line), False
    for _ in range(DEEPEST_MARKS):
        if line.endswith(".") and not dotted:
            line, dotted = line[:-1].rstrip(), True
        for opening, closing in _WRAPPERS:
            if len(line) > len(opening) + len(closing) and line.startswith(opening) and line.endswith(closing):
                line = line[len(opening) : -len(closing)].strip()
                break
    return line


def _bare(line: str) -> str:
    """The unwrapped line in capitals, to be looked up; "" when it holds more than ASCII."""
    line = _unwrapped(line)
    # A letter outside ASCII can become one inside it: the long s of "ſell" is a capital S.
    return line.replace("\\_", "_").upper() if line.isascii() else ""


def _nothing_to_read(value: object, content: str | None) -> str:
    if content is None:
        return _bounded("no text but ", type(value).__name__ if value is not None else "None")
    return "the text is empty" if not content.strip() else _bounded("nothing but thoughts or marks: ", content)


def _bounded(lead: str, came: object) -> str:
    """`lead` and what came, on one line, control and format characters shown as �, at most LONGEST_REFUSAL long."""
    text = came if isinstance(came, str) else str(type(came).__name__)
    plain = "".join("\ufffd" if unicodedata.category(c)[0] == "C" and not c.isspace() else c for c in text[:1000])
    line = f"{lead}{' '.join(plain.split())!r}"
    return line if len(line) <= LONGEST_REFUSAL else line[: LONGEST_REFUSAL - 1] + "…"
