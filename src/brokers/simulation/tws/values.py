"""Single values as wire text: what is unset, what is a number, and what text may carry.

Unset on the wire: "" or 1.7976931348623157E308 for a double, "" or 2147483647 for an int; both read alike.
Whole numbers are written without a decimal point: clients below version 163 read sizes with `int()`.
Readers raise ValueError for text that is not the value; writers for a value that has no form on the wire.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

Number = int | float | Decimal

UNSET_DOUBLE = 1.7976931348623157e308
UNSET_DOUBLE_TEXT = "1.7976931348623157E308"
UNSET_INT = 2147483647
#: IB's widest amounts have 15 digits; a longer exponent is an attack on memory, not a number.
_LARGEST = 1e18
_SMALLEST_EXPONENT = -40

_INTEGER = re.compile(r"[+-]?\d{1,20}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?(?:\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})(?:[eE][+-]?\d{1,3})?", re.ASCII)
_INFINITE = frozenset({"Infinity", "Infinite", "inf", "Inf", "INF"})


def number_text(value: Number) -> str:
    """Plain decimal text: no exponent, no trailing zeros, no decimal point in a whole number."""
    if type(value) is int:
        return str(value)
    if isinstance(value, Decimal):
        if not value.is_finite():
            return _not_finite(float(value))
        return format(value.normalize(), "f") if value else "0"
    number = float(value)
    if not math.isfinite(number):
        return _not_finite(number)
    if number.is_integer():
        return str(int(number))
    text = repr(number)
    return format(Decimal(text), "f") if "e" in text else text


def _not_finite(number: float) -> str:
    if math.isnan(number):
        raise ValueError("NaN has no form on the wire; pass None for a missing number")
    return "Infinity" if number > 0 else "-Infinity"


def escape(text: str) -> str:
    """ASCII with `\\uXXXX` for everything else (and for the backslash itself), as TWS sends names and errors."""
    if text.isascii() and "\\" not in text and "\0" not in text:
        return text
    return "".join(_escape_char(char) for char in text)


def _escape_char(char: str) -> str:
    code = ord(char)
    if 0 < code < 128 and char != "\\":
        return char
    if code <= 0xFFFF:
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"


def unescape(text: str) -> str:
    """The inverse of `escape`."""
    if "\\u" not in text:
        return text
    plain = re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text)
    return plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def plain_text(value: Any) -> str:
    text = value if type(value) is str else str(value)
    if "\0" in text:
        raise ValueError("a text field cannot hold NUL, which ends fields on the wire")
    return text


def read_integer(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError(f"expected an integer, got {text[:40]!r}")
    value = int(text)
    if not -UNSET_INT - 1 <= value <= UNSET_INT:
        raise ValueError(f"expected a 32-bit integer, got {text[:40]!r}")
    return value


def read_long(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError(f"expected an integer, got {text[:40]!r}")
    return int(text)


def integer_text(value: Any) -> str:
    if value is None:
        raise ValueError("expected an integer, got None")
    return str(int(value))


def read_decimal(text: str) -> Decimal | None:
    """None when unset; infinite where the client says so."""
    if text == "":
        return None
    if not _DECIMAL.fullmatch(text):
        if text.lstrip("+") in _INFINITE:
            return Decimal("Infinity")
        raise ValueError(f"expected a number, got {text[:40]!r}")
    value = Decimal(text)
    if abs(value) > _LARGEST:
        if float(text) == UNSET_DOUBLE:
            return None
        raise ValueError(f"{text[:40]!r} is beyond every amount")
    if value and value.adjusted() < _SMALLEST_EXPONENT:
        raise ValueError(f"{text[:40]!r} is below every amount")
    return value


def read_finite(text: str) -> Decimal | None:
    value = read_decimal(text)
    if value is not None and not value.is_finite():
        raise ValueError(f"expected a finite number, got {text[:40]!r}")
    return value


def optional_text(value: Number | None) -> str:
    return "" if value is None else number_text(value)


def read_tags(text: str) -> tuple[tuple[str, str], ...]:
    pairs = (part.partition("=") for part in text.split(";") if part)
    return tuple((tag, value) for tag, _, value in pairs)


def tags_text(value: Sequence[tuple[str, str]]) -> str:
    return plain_text("".join(f"{tag}={content};" for tag, content in value))


def read_bool(text: str) -> bool:
    if text == "" or text == "0":
        return False
    if text == "1":
        return True
    return read_integer(text) != 0


def read_float_or_none(text: str) -> float | None:
    value = read_finite(text)
    return None if value is None else float(value)
