"""News to features without a model: words of a table, looked up in the folded copy of a story."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from .news_features import Company, NewsFeatures, Reading, Topic, Way
from .untrusted import Change, Cleaned, folded


@dataclass(frozen=True, slots=True)
class Entry:
    """What a story with one of `phrases` is. An asterisk ends a word that may go on."""

    topic: Topic
    direction: Way
    severity: int
    phrases: str


#: The first entry whose phrase stands in a story sorts it; the worst come first, so that no word hides a worse one.
LEXICON = (
    Entry(Topic.DISTRESS, Way.DOWN, 3, "bankrupt*, chapter 11, chapter 7, insolven*, going concern, defaults on"),
    Entry(Topic.DISTRESS, Way.DOWN, 3, "liquidat*, receivership, misses bond payment, winding up"),
    Entry(Topic.LEGAL, Way.DOWN, 3, "fraud*, accounting irregularit*, restate*, indict*, raided, criminal charge*"),
    Entry(Topic.LEGAL, Way.DOWN, 3, "sec charges, ponzi, short seller report, whistleblower*, embezzl*, bribe*"),
    Entry(Topic.SECURITY, Way.DOWN, 3, "data breach*, ransomware, cyberattack*, cyber attack*, hacked, hackers"),
    Entry(Topic.TRADING, Way.DOWN, 3, "delist*, trading halted, trading suspended, halts trading"),
    Entry(Topic.PRODUCT, Way.DOWN, 2, "recall*, fails trial, trial failure, clinical hold, grounded, explosion"),
    Entry(Topic.LEGAL, Way.DOWN, 2, "lawsuit*, sued, sues, probe*, investigat*, subpoena*, antitrust, fined"),
    Entry(Topic.GUIDANCE, Way.DOWN, 2, "cuts guidance, lowers guidance, cuts forecast, cuts outlook, profit warning"),
    Entry(Topic.MANAGEMENT, Way.DOWN, 2, "ceo resigns, ceo steps down, cfo resigns, auditor resigns, ousted"),
    Entry(Topic.FINANCING, Way.DOWN, 2, "dilut*, share offering, stock offering, cuts dividend, suspends dividend"),
    Entry(Topic.FINANCING, Way.DOWN, 2, "covenant breach, cut to junk, debt restructuring"),
    Entry(Topic.EARNINGS, Way.DOWN, 2, "misses estimate*, misses expectation*, earnings miss, swings to loss"),
    Entry(Topic.TRADING, Way.DOWN, 2, "plunge*, plummet*, crash*, tumble*, sinks, slump*, sell off, collapse*"),
    Entry(Topic.MANAGEMENT, Way.DOWN, 1, "layoff*, job cuts, strike, resigns, steps down"),
    Entry(Topic.RATING, Way.DOWN, 1, "downgrade*, cut to sell, cut to underperform, price target cut, underweight"),
    Entry(Topic.TRADING, Way.DOWN, 1, "falls, drops, slides, slips, declines"),
    Entry(Topic.DEAL, Way.UP, 2, "takeover bid, to be acquired, buyout offer, agrees to be bought"),
    Entry(Topic.GUIDANCE, Way.UP, 2, "raises guidance, raises forecast, raises outlook, lifts forecast"),
    Entry(Topic.EARNINGS, Way.UP, 1, "beats estimate*, beats expectation*, earnings beat, record profit"),
    Entry(Topic.RATING, Way.UP, 1, "upgrade*, raised to buy, price target raised, outperform, overweight"),
    Entry(Topic.PRODUCT, Way.UP, 1, "fda approv*, wins contract, wins order, launch*, partnership"),
    Entry(Topic.FINANCING, Way.UP, 1, "buyback, repurchase*, raises dividend, special dividend"),
    Entry(Topic.DEAL, Way.UNCLEAR, 1, "acquir*, acquisition, merger, takeover, spin off, stake in, joint venture"),
    Entry(Topic.EARNINGS, Way.UNCLEAR, 1, "earnings, results, revenue, guidance"),
    Entry(Topic.TRADING, Way.UP, 1, "surge*, soars, jumps, rallies, rises, gains"),
)

#: What is written for a model rather than for people. A hint for the reader of a report, not a defence.
ADDRESSES = (
    "ignore all previous, ignore previous, ignore prior, ignore the above, ignore your, ignore any, ignore all other, "
    "disregard all, disregard previous, disregard the above, disregard your, forget everything, forget your, "
    "previous instructions, prior instructions, your instructions, new instructions, system prompt, developer mode, "
    "you are an ai, as an ai model, respond with, answer with, answer only, reply with, reply only, output only, "
    "output json, return json, set the score, set severity, set score, score 100, score 0, severity 0, severity 3, "
    "function call, tool call, call the tool, evidence id, evidence ids, is about company, place an order, "
    "place order, place a market order, raise the limit, raise the risk limit, disable the kill switch, "
    "ignoriere alle, vergiss alle, ignora las, ignora todas, ignorez les, ignorez toutes, ignora tutte, ignore todas, "
    "игнорируй, игнорируйте, تجاهل"
)
#: The same in scripts that put no space between words.
UNSPACED_ADDRESSES = ("忽略", "無視して", "指示を無視", "이전 지시")
#: Changes that no publisher's software makes.
SMUGGLED = frozenset({Change.TEMPLATE_TOKEN, Change.BIDI, Change.ESCAPES})


def phrases_pattern(phrases: Iterable[str]) -> re.Pattern[str]:
    """What finds any of the phrases in a folded text, as whole words; an asterisk ends a word that may go on."""
    words = (re.escape(folded(phrase)) + r"\w*" * phrase.endswith("*") for phrase in phrases)
    return re.compile(r"\b(?:" + "|".join(words) + r")\b")


_ENTRIES = tuple((entry, phrases_pattern(entry.phrases.split(", "))) for entry in LEXICON)
_ADDRESSES = phrases_pattern(ADDRESSES.split(", "))
_UNSPACED = tuple(folded(phrase) for phrase in UNSPACED_ADDRESSES)


def lexicon_reading(company: Company, headline: Cleaned, body: Cleaned | None = None) -> Reading:
    """What the lexicon finds: always the same for the same text. An article can only add a worse topic."""
    texts = (headline,) if body is None else (headline, body)
    words = " ".join(text.folded for text in texts)
    entry = next((entry for entry, pattern in _ENTRIES if pattern.search(words)), None)
    features = NewsFeatures(
        topic=Topic.OTHER if entry is None else entry.topic,
        direction=Way.UNCLEAR if entry is None else entry.direction,
        severity=0 if entry is None else entry.severity,
        # The provider filed it under this company, so that it concerns it even where it does not name it.
        relevance=3 if _names(company, texts, words) else 2,
        is_about_company=True,
    )
    spoken = bool(_ADDRESSES.search(words)) or any(phrase in words for phrase in _UNSPACED)
    smuggled = any(text.changes & SMUGGLED for text in texts)
    return Reading(features, speaks_to_machines=spoken or smuggled)


def _names(company: Company, texts: Iterable[Cleaned], words: str) -> bool:
    # A symbol counts as it is written only: folded, ALL and IT are words of every second headline.
    if any(company.symbol in re.findall(r"[\w.-]+", text.shown) for text in texts):
        return True
    return company.first_word is not None and company.first_word in words.split()
