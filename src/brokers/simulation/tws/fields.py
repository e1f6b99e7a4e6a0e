"""Rows: one declaration of a message's fields drives both its parser and its encoder.

    Row(name, kind, since, until, when, optional)   one field, or one nested thing, in wire order
    Kind                                            how a value is read from and written to fields
        scalars   ID INT OPT_INT BOOL TEXT ESCAPED NUMBER OPT_NUMBER MAX_NUMBER MAX_INT QUANTITY OPT_DECIMAL SIZE TAGS
        composed  Record(cls, rows)  Counted(kind)  Maybe(kind)  Const(text)  Rest()
    Layout(name, rows).at(server_version)           a compiled Plan: read(fields) -> dict, write(values) -> fields

Unset on the wire: "" or 1.7976931348623157E308 for a double, "" or 2147483647 for an int; both read alike.
Whole numbers are written without a decimal point: clients below version 163 read sizes with `int()`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any, Generic, NamedTuple, TypeVar

from .codec import MAX_SERVER_VERSION, MIN_SERVER_VERSION

T = TypeVar("T")
Number = int | float | Decimal
Values = Mapping[str, Any]
Test = Callable[[Values], Any]

UNSET_DOUBLE = 1.7976931348623157e308
UNSET_DOUBLE_TEXT = "1.7976931348623157E308"
UNSET_INT = 2147483647
#: From this version on sizes may be fractional (IB: MIN_SERVER_VER_SIZE_RULES is 164, decimals since 163).
FRACTIONAL_SIZES = 163
#: IB's widest amounts have 15 digits; a longer exponent is an attack on memory, not a number.
_LARGEST = 1e18
_SMALLEST_EXPONENT = -40

_INTEGER = re.compile(r"[+-]?\d{1,20}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?(?:\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})(?:[eE][+-]?\d{1,3})?", re.ASCII)
_INFINITE = frozenset({"Infinity", "Infinite", "inf", "Inf", "INF"})


class FieldProblem(ValueError):
    """A field could not be read or written; `path` names it, outermost first ("contract.conId")."""

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path}: {reason}")


class Truncated(ValueError):
    """The message ends before this field."""


class Reader:
    """A cursor over the fields of one message."""

    __slots__ = ("at", "fields")

    def __init__(self, fields: Sequence[str]) -> None:
        self.fields = fields
        self.at = 0

    def take(self) -> str:
        try:
            text = self.fields[self.at]
        except IndexError:
            raise Truncated("the message ends before this field") from None
        self.at += 1
        return text

    @property
    def exhausted(self) -> bool:
        return self.at >= len(self.fields)

    def drain(self) -> tuple[str, ...]:
        rest = tuple(self.fields[self.at :])
        self.at = len(self.fields)
        return rest


Take = Callable[[Reader], Any]
Put = Callable[[Any, list[str]], None]


class Bound(NamedTuple):
    """A kind at one server version."""

    take: Take
    put: Put


class Kind(Generic[T]):
    """How one value of type T travels; `bind` is called once per message and server version."""

    def bind(self, server_version: int) -> Bound:
        raise TypeError(f"{type(self).__name__} cannot be bound")


class Scalar(Kind[T]):
    """One field."""

    def __init__(self, parse: Callable[[str], T], render: Callable[[Any], str]) -> None:
        self._parse = parse
        self._render = render

    def bind(self, server_version: int) -> Bound:
        parse, render = self._parse, self._render

        def take(reader: Reader) -> Any:
            return parse(reader.take())

        def put(value: Any, out: list[str]) -> None:
            out.append(render(value))

        return Bound(take, put)


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
    if number == int(number) and abs(number) < 1e15:
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


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else str(value)
    if "\0" in text:
        raise ValueError("a text field cannot hold NUL, which ends fields on the wire")
    return text


def _integer(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError(f"expected an integer, got {text[:40]!r}")
    value = int(text)
    if not -UNSET_INT - 1 <= value <= UNSET_INT:
        raise ValueError(f"expected a 32-bit integer, got {text[:40]!r}")
    return value


def _long(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError(f"expected an integer, got {text[:40]!r}")
    return int(text)


def _integer_text(value: Any) -> str:
    if value is None:
        raise ValueError("expected an integer, got None")
    return str(int(value))


def int_or(unset: Any) -> Kind[Any]:
    """A 32-bit integer; `unset` is what an unset field means (None: it has no value)."""

    def parse(text: str) -> Any:
        if text == "" or text == "2147483647":
            return unset
        return _integer(text)

    def render(value: Any) -> str:
        return "" if value is None else str(int(value))

    return Scalar(parse, render if unset is None else _integer_text)


def _decimal(text: str) -> Decimal | None:
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


def _finite(text: str) -> Decimal | None:
    value = _decimal(text)
    if value is not None and not value.is_finite():
        raise ValueError(f"expected a finite number, got {text[:40]!r}")
    return value


def _optional_text(value: Number | None) -> str:
    return "" if value is None else number_text(value)


def _number_or(unset: float) -> Kind[float]:
    def parse(text: str) -> float:
        value = _finite(text)
        return unset if value is None else float(value)

    return Scalar(parse, number_text)


def sentinel(missing: int) -> Kind[float | None]:
    """A float whose absence IB writes as `missing` (-1, -2): None on our side, never on the wire."""

    def parse(text: str) -> float | None:
        value = _finite(text)
        return None if value is None or value == missing else float(value)

    def render(value: Number | None) -> str:
        return str(missing) if value is None else number_text(value)

    return Scalar(parse, render)


def _tags(text: str) -> tuple[tuple[str, str], ...]:
    pairs = (part.partition("=") for part in text.split(";") if part)
    return tuple((tag, value) for tag, _, value in pairs)


def _tags_text(value: Sequence[tuple[str, str]]) -> str:
    return _text("".join(f"{tag}={content};" for tag, content in value))


def _bool(text: str) -> bool:
    if text == "" or text == "0":
        return False
    if text == "1":
        return True
    return _integer(text) != 0


def _float_or_none(text: str) -> float | None:
    value = _finite(text)
    return None if value is None else float(value)


#: A required identifier (reqId, orderId, clientId): unset is an error.
ID: Kind[int] = Scalar(_integer, _integer_text)
#: 64-bit, for permId and epoch times; required.
LONG: Kind[int] = Scalar(_long, _integer_text)
#: Unset reads as 0, as TWS takes it.
INT: Kind[int] = int_or(0)
OPT_INT: Kind[int | None] = int_or(None)
BOOL: Kind[bool] = Scalar(_bool, lambda value: "1" if value else "0")
TEXT: Kind[str] = Scalar(str, _text)
#: Text that only ASCII may carry.
ESCAPED: Kind[str] = Scalar(unescape, escape)
#: Float; unset reads as 0.
NUMBER: Kind[float] = _number_or(0.0)
#: Float or None, None written as "".
OPT_NUMBER: Kind[float | None] = Scalar(_float_or_none, _optional_text)
#: Float or None, None written as 1.7976931348623157E308.
MAX_NUMBER: Kind[float | None] = Scalar(
    _float_or_none, lambda value: UNSET_DOUBLE_TEXT if value is None else number_text(value)
)
#: 32-bit integer or None, None written as 2147483647.
MAX_INT: Kind[int | None] = Scalar(
    lambda text: None if text in ("", str(UNSET_INT)) else _integer(text),
    lambda value: str(UNSET_INT if value is None else int(value)),
)
#: Decimal or None; a price or an amount of an order.
OPT_DECIMAL: Kind[Decimal | None] = Scalar(_finite, _optional_text)
#: Decimal or None, where "Infinity" has a meaning.
OFFSET: Kind[Decimal | None] = Scalar(_decimal, _optional_text)
#: Decimal; unset reads as 0; None is written as 0.
QUANTITY: Kind[Decimal] = Scalar(
    lambda text: _finite(text) or Decimal(0), lambda value: "0" if value is None else number_text(value)
)
#: `tag=value;` pairs in one field.
TAGS: Kind[tuple[tuple[str, str], ...]] = Scalar(_tags, _tags_text)


class _Size(Kind[Decimal]):
    """A market size: fractional since 163, cut to a whole number before it."""

    def bind(self, server_version: int) -> Bound:
        if server_version >= FRACTIONAL_SIZES:
            return QUANTITY.bind(server_version)
        return Scalar(lambda text: Decimal(_long(text or "0")), lambda value: str(int(value or 0))).bind(server_version)


SIZE: Kind[Decimal] = _Size()


class Const(Kind[None]):
    """A field that never varies; read without a look, since clients disagree on version numbers."""

    def __init__(self, text: str) -> None:
        self.text = text

    def bind(self, server_version: int) -> Bound:
        text = self.text

        def take(reader: Reader) -> None:
            reader.take()

        def put(value: Any, out: list[str]) -> None:
            out.append(text)

        return Bound(take, put)


class Rest(Kind[tuple[str, ...]]):
    """Whatever is left, for tails that clients write differently."""

    def bind(self, server_version: int) -> Bound:
        def put(value: Sequence[str], out: list[str]) -> None:
            out.extend(value)

        return Bound(Reader.drain, put)


class Counted(Kind[tuple[T, ...]]):
    """A count, then that many of `item`."""

    def __init__(self, item: Kind[T]) -> None:
        self._item = item

    def bind(self, server_version: int) -> Bound:
        take_item, put_item = self._item.bind(server_version)

        def take(reader: Reader) -> tuple[Any, ...]:
            count = INT_COUNT.take(reader)
            if not 0 <= count <= len(reader.fields):
                raise ValueError(f"{count} entries are announced, the message has {len(reader.fields)} fields")
            return tuple(take_item(reader) for _ in range(count))

        def put(value: Sequence[Any], out: list[str]) -> None:
            out.append(str(len(value)))
            for item in value:
                put_item(item, out)

        return Bound(take, put)


INT_COUNT = INT.bind(MAX_SERVER_VERSION)


class Maybe(Kind[T | None]):
    """A flag, then the value when the flag is 1."""

    def __init__(self, kind: Kind[T]) -> None:
        self._kind = kind

    def bind(self, server_version: int) -> Bound:
        take_value, put_value = self._kind.bind(server_version)

        def take(reader: Reader) -> Any:
            return take_value(reader) if _bool(reader.take()) else None

        def put(value: Any, out: list[str]) -> None:
            if value is None:
                out.append("0")
                return
            out.append("1")
            put_value(value, out)

        return Bound(take, put)


REQUIRED: Any = object()


@dataclass(frozen=True, slots=True)
class Row:
    """One field in wire order.

    since/until: server versions that carry it, both inclusive. when: present only if this holds for the fields
    before it. optional: clients may leave it out when it is the last (then `default`). default: what the
    encoder writes when no value is given. A row without a name is read and not kept.
    """

    name: str
    kind: Kind[Any]
    since: int = MIN_SERVER_VERSION
    until: int = MAX_SERVER_VERSION
    when: Test | None = None
    optional: bool = False
    default: Any = REQUIRED

    @property
    def required(self) -> bool:
        return self.default is REQUIRED

    def carried_by(self, server_version: int) -> bool:
        return self.since <= server_version <= self.until


class _Step(NamedTuple):
    name: str
    take: Take
    put: Put
    when: Test | None
    optional: bool
    default: Any


class Plan:
    """The rows of one message at one server version, ready to run."""

    __slots__ = ("defaults", "names", "steps")

    def __init__(self, rows: Sequence[Row], server_version: int) -> None:
        carried = [row for row in rows if row.carried_by(server_version)]
        self.steps = [
            _Step(row.name, *row.kind.bind(server_version), row.when, row.optional, row.default) for row in carried
        ]
        self.names = frozenset(row.name for row in rows if row.name)
        self.defaults = {row.name: row.default for row in rows if row.name and not row.required}

    def read(self, reader: Reader) -> dict[str, Any]:
        """Values by name; raises FieldProblem with what was read so far in `.values`."""
        values: dict[str, Any] = {}
        name = ""
        try:
            for name, take, _, when, optional, default in self.steps:
                if when is not None and not when(values):
                    continue
                if optional and reader.exhausted:
                    values[name] = default
                    continue
                value = take(reader)
                if name:
                    values[name] = value
        except FieldProblem as problem:
            raise PartialRead(f"{name}.{problem.path}", problem.reason, values) from None
        except ValueError as reason:
            raise PartialRead(name or "version", str(reason), values) from None
        return values

    def write(self, values: Values, out: list[str]) -> None:
        """Appends the fields; `values` has every name, defaults included."""
        name = ""
        try:
            for name, _, put, when, _, _ in self.steps:
                if when is None or when(values):
                    put(values[name] if name else None, out)
        except (ValueError, TypeError, AttributeError) as reason:
            raise FieldProblem(name, str(reason)) from reason


class PartialRead(FieldProblem):
    """A FieldProblem that keeps what came before it, so that the answer can name the request."""

    def __init__(self, path: str, reason: str, values: dict[str, Any]) -> None:
        self.values = values
        super().__init__(path, reason)


class Layout:
    """A message's rows, compiled once per server version."""

    __slots__ = ("_plans", "rows")

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = tuple(rows)
        self._plans: dict[int, Plan] = {}

    def at(self, server_version: int) -> Plan:
        plan = self._plans.get(server_version)
        if plan is None:
            plan = self._plans[server_version] = Plan(self.rows, server_version)
        return plan


class Record(Kind[T]):
    """Several rows that make one object; written from attributes of the same names."""

    def __init__(self, make: Callable[..., T], rows: Sequence[Row]) -> None:
        self._make = make
        self.rows = tuple(rows)

    def bind(self, server_version: int) -> Bound:
        plan = Plan(self.rows, server_version)
        make = self._make
        steps = [(step.name, step.put) for step in plan.steps]

        def take(reader: Reader) -> Any:
            return make(**plan.read(reader))

        def put(value: Any, out: list[str]) -> None:
            for name, put_field in steps:
                put_field(getattr(value, name) if name else None, out)

        return Bound(take, put)


@cache
def version_field(number: int, until: int = MAX_SERVER_VERSION) -> Row:
    """The message's own version number, that most messages carry as their first field."""
    return Row("", Const(str(number)), until=until)
