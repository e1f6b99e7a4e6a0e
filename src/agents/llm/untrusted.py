"""Text that strangers wrote: its own types, its cleaning, and how a quarantined question shows it to a model.

`Untrusted` and `Cleaned` are no strings, so that a prompt cannot take them by accident. Cleaning makes the characters
that delimiters, datamarks and the tokens of chat templates are made of impossible; it cannot make the words harmless.
"""

from __future__ import annotations

import html
import re
import secrets
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn

from ...brokers.errors import InvalidRequest

#: Bounds in characters: what is looked at of a text at all, and what is left of it after cleaning.
LONGEST_RAW = 20_000
LONGEST_HEADLINE = 300
LONGEST_ARTICLE = 1_500

#: One of these stands for each space of a spotlit text; cleaning takes all of them out of the text itself.
MARKS = "ˆ¦¬¤◊‡"
#: A run without a space is marked inside after this many characters, for scripts that write none.
LONGEST_RUN = 24
#: Longest spotlit line, its delimiters included.
LONGEST_LINE = 450

#: Tokens that chat templates reserve, as in their tokenizers' own tables.
TEMPLATE_TOKENS = (
    *("<|im_start|>", "<|im_end|>", "<|im_sep|>", "<|endoftext|>", "<|endofprompt|>"),
    *("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|eom_id|>"),
    *("<|python_tag|>", "<|header_start|>", "<|header_end|>", "<|eot|>", "<|finetune_right_pad_id|>"),
    *("<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|tool|>", "<|tool_call|>", "<|observation|>"),
    *("<|start|>", "<|channel|>", "<|message|>", "<|call|>", "<|return|>", "<|constrain|>"),
    *("<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|SYSTEM_TOKEN|>", "<|CHATBOT_TOKEN|>", "<|USER_TOKEN|>"),
    *("<|start_of_role|>", "<|end_of_role|>", "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>"),
    *("<｜Assistant｜>", "<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>", "<|fim_prefix|>", "<|fim_suffix|>"),
    *("<s>", "</s>", "<bos>", "<eos>", "<unk>", "<pad>", "<start_of_turn>", "<end_of_turn>", "<<SYS>>", "<</SYS>>"),
    *("[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]"),
    *("[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[gMASK]", "<tool_call>", "</tool_call>"),
    *("<tool_response>", "<think>", "</think>", "<function_calls>", "<function_results>"),
)
#: What remains of a template that is plain words: a role and a colon.
_ROLE = re.compile(
    r"\b(system|assistant|user|human|developer|tool|function|model|instruction|response|input|output)\s*:", re.I
)
#: Characters that prompts and templates are built of -> what stands in their place.
_STRUCTURE = str.maketrans(
    {"<": "‹", ">": "›", "|": "/", "\\": "/", "[": "(", "]": ")", "{": "(", "}": ")", "`": "'", "«": '"', "»": '"'}
    | {"▁": " ", **dict.fromkeys(MARKS, " ")}
)
#: Letters, marks and symbols that show nothing although their category is a visible one; first and last of each range.
_BLANKS = (
    *((0x034F, 0x034F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x2800, 0x2800), (0x3164, 0x3164)),
    *((0xFE00, 0xFE0F), (0xFFA0, 0xFFA0), (0x1D159, 0x1D159), (0xE0000, 0xE0FFF)),
)
_BLANK = frozenset(code for first, last in _BLANKS for code in range(first, last + 1))
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
#: Accents that one letter may carry; more hide it.
MOST_ACCENTS = 2
#: Escapes within escapes that are opened; deeper ones are blanked.
_ROUNDS = 4

_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});")
#: Elements whose content is not text.
_DROPPED = ("script", "style", "template", "iframe", "object", "svg", "title", "head", "noscript", "textarea")
_TAG_NAME = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9:-]{0,40})")
_REPEATED = re.compile(r"([^\w\s.])(?:\s?\1){2,}")
_ACRONYM = re.compile(r"\b(?:\w\.){2,}")
_SPACED = re.compile(r"\b(?:\w ){3,}\w\b")

#: Latin letter -> letters of other alphabets, and Latin ones that do not decompose, that look like it.
_LOOKS = (
    "a:аαɑᴀ b:вьβʙ c:сᴄ d:ԁᴅđ e:еєεᴇ f:ꜰ g:ɡցɢ h:нһհʜћ i:іιıɩɪ j:јᴊ k:кκқᴋ l:ʟłӏ m:мᴍ n:ηոɴп o:оοօᴏø p:рρᴘ q:ԛ "
    "r:гʀ s:ѕꜱ t:тτᴛŧ u:υսᴜμ v:νᴠѵ w:ԝωᴡɯ x:хχ y:уүγʏ z:ᴢ"
)
_ALIKE = {ord(alike): row[0] for row in _LOOKS.split() for alike in row[2:]}


class Change(StrEnum):
    """What cleaning took out of a text. A reader may care; the text is safe to show either way."""

    MARKUP = "markup"
    INVISIBLE = "invisible"
    BIDI = "bidi"
    CONTROL = "control"
    TEMPLATE_TOKEN = "template_token"
    CUT = "cut"  #: longer than its bound
    ESCAPES = "escapes"  #: deeper than they are opened


class Untrusted:
    """Text from outside as it came. It is no string: `str()`, formatting and joining refuse it with InvalidRequest or
    TypeError, and its `repr` shows the length alone. Only `cleaned` reads it. Anything but a string is refused."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise InvalidRequest("text from outside", f"it is a {type(text).__name__}", "give a string")
        self._text = text

    def __len__(self) -> int:
        return len(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Untrusted) and self._text == other._text

    def __hash__(self) -> int:
        return hash((Untrusted, self._text))

    def __repr__(self) -> str:
        return f"<untrusted text of {len(self._text)} characters>"

    def __str__(self) -> NoReturn:
        raise InvalidRequest("text from outside as a string", "it may hold instructions", "read it in quarantine")

    def __format__(self, spec: str) -> NoReturn:
        str(self)
        raise AssertionError


@dataclass(frozen=True, slots=True, repr=False)
class Cleaned:
    """One line that holds no markup, nothing invisible and no reserved token. Still a stranger's words: for people to
    read and for a quarantined question, never for a scoring one.

    `shown` is the line, `folded` a copy for matching only: lower case, look-alike letters made Latin, words alone.
    """

    shown: str
    folded: str
    changes: frozenset[Change]

    def __repr__(self) -> str:
        return f"<cleaned text of {len(self.shown)} characters>"

    def __str__(self) -> NoReturn:
        raise InvalidRequest("cleaned text as a string", "its words are a stranger's", "read it in quarantine")

    def __format__(self, spec: str) -> NoReturn:
        str(self)
        raise AssertionError


def cleaned(text: Untrusted, longest: int = LONGEST_HEADLINE) -> Cleaned:
    """The text on one line of at most `longest` characters. Never raises, whatever the text; the line may be empty.

    Joiners between letters are taken out with all that is invisible, which some scripts show a little differently.
    """
    changes: set[Change] = set()
    line = _neutral(_plain(_bounded(text._text, LONGEST_RAW, changes), changes))
    line = _bounded(line, longest, changes).rstrip()
    return Cleaned(line, folded(line), frozenset(changes))


def folded(text: str) -> str:
    """A copy for matching only: accents off, look-alikes made Latin, lower case, words with one space between.

    Letters that dots or spaces hold apart are joined: `S.E.C.` is `sec`, `i g n o r e` is `ignore`.
    """
    bare = "".join(letter for letter in unicodedata.normalize("NFKD", text) if unicodedata.category(letter) != "Mn")
    latin = bare.casefold().translate(_ALIKE)
    undotted = _ACRONYM.sub(lambda found: found[0].replace(".", "") + " ", latin)
    words = " ".join("".join(letter if letter.isalnum() else " " for letter in undotted).split())
    return _SPACED.sub(lambda found: found[0].replace(" ", ""), words)


@dataclass(frozen=True, slots=True)
class Spotlight:
    """How one question sets a text off: `code` is random and used once, `mark` stands for every space of the text.

    Raises InvalidRequest for a code or a mark that a text could hold.
    """

    code: str
    mark: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[0-9a-f]{16}", self.code) or self.mark not in MARKS or len(self.mark) != 1:
            raise InvalidRequest("spotlight", "its code or its mark could stand in a text", "make a fresh one")

    @classmethod
    def fresh(cls) -> Spotlight:
        return cls(secrets.token_hex(8), secrets.choice(MARKS))

    @property
    def opening(self) -> str:
        return f"«{self.code}»"

    @property
    def closing(self) -> str:
        return f"«/{self.code}»"

    def lines(self, text: Cleaned) -> tuple[str, ...]:
        """The text between its delimiters, in lines of at most LONGEST_LINE characters; none when it is empty."""
        room = LONGEST_LINE - len(self.opening) - len(self.closing)
        marked = self.mark.join(
            self.mark.join(word[start : start + LONGEST_RUN] for start in range(0, len(word), LONGEST_RUN))
            for word in text.shown.split()
        )
        parts = [marked[start : start + room] for start in range(0, len(marked), room)]
        return tuple(f"{self.opening}{part}{self.closing}" for part in parts)


def _bounded(text: str, longest: int, changes: set[Change]) -> str:
    if len(text) > longest:
        changes.add(Change.CUT)
    return text[:longest]


def _plain(text: str, changes: set[Change]) -> str:
    """Escapes opened, look-alike forms made plain, invisible characters and markup taken out, until nothing changes."""
    for _ in range(_ROUNDS):
        before = text
        text = _ENTITY.sub(lambda found: html.unescape(found[0]), text)
        text = _visible(unicodedata.normalize("NFKC", text)[:LONGEST_RAW], changes)
        if _reserved(text):
            changes.add(Change.TEMPLATE_TOKEN)
        text = _without_markup(text, changes)
        if text == before:
            return text
    if _ENTITY.search(text) or "<" in text:
        changes.add(Change.ESCAPES)
    return _ENTITY.sub(" ", text)


def _reserved(text: str) -> bool:
    tight = "".join(text.casefold().split())
    return any(token in tight for token in _TOKENS)


_TOKENS = tuple("".join(unicodedata.normalize("NFKC", token).casefold().split()) for token in TEMPLATE_TOKENS)


def _visible(text: str, changes: set[Change]) -> str:
    """Without controls, formats, private and unassigned characters; every kind of space is one space."""
    kept: list[str] = []
    accents = 0
    for letter in text:
        category = unicodedata.category(letter)
        accents = accents + 1 if category in ("Mn", "Me") else 0
        if letter.isspace() or category in ("Zs", "Zl", "Zp"):
            kept.append(" ")
        elif letter in _BIDI:
            changes.add(Change.BIDI)
        elif category == "Cc":
            changes.add(Change.CONTROL)
        elif category[0] == "C" or ord(letter) in _BLANK or accents > MOST_ACCENTS:
            changes.add(Change.INVISIBLE)
        else:
            kept.append(letter)
    return "".join(kept)


def _without_markup(text: str, changes: set[Change]) -> str:
    """Tags and comments as spaces, elements of `_DROPPED` with their content. One pass over the text."""
    kept: list[str] = []
    lower = text.lower()
    place = 0
    while (start := text.find("<", place)) >= 0:
        kept.append(text[place:start])
        end = _markup_end(text, lower, start)
        if end is None:
            kept.append("<")
            place = start + 1
        else:
            changes.add(Change.MARKUP)
            kept.append(" ")
            place = end
    kept.append(text[place:])
    return "".join(kept)


def _markup_end(text: str, lower: str, start: int) -> int | None:
    """Where the markup that begins at `start` ends; None when it is a plain less-than sign. What never ends, ends with
    the text when its content is not text, and is a plain sign otherwise."""
    if text.startswith("<!--", start):
        end = text.find("-->", start + 4)
        return len(text) if end < 0 else end + 3
    name = _TAG_NAME.match(text, start)
    if name is None and not text.startswith(("<!", "<?"), start):
        return None
    end = text.find(">", start)
    if end < 0:
        return None
    if name is None or name[1] or name[2].lower() not in _DROPPED:
        return end + 1
    close = lower.find(f"</{name[2].lower()}", end)
    if close < 0:
        return len(text)
    closed = text.find(">", close)
    return len(text) if closed < 0 else closed + 1


def _neutral(text: str) -> str:
    """Without the characters that prompts are built of, role labels and separators; one space between words."""
    line = " ".join(text.translate(_STRUCTURE).split())
    while (shorter := _REPEATED.sub(r"\1", _ROLE.sub(r"\1 -", line))) != line:
        line = " ".join(shorter.split())
    return line
