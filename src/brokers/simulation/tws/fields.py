"""Rows: one declaration of a message's fields drives both its parser and its encoder.

    Row(name, kind, since, until, when, optional)   one field, or one nested thing, in wire order
    Kind                                            how a value is read from and written to fields
        scalars   ID INT OPT_INT BOOL TEXT ESCAPED NUMBER OPT_NUMBER MAX_NUMBER MAX_INT QUANTITY OPT_DECIMAL SIZE TAGS
        composed  Record(cls, rows)  Counted(kind)  Maybe(kind)  Const(text)  Rest()
    Layout(name, rows).at(server_version)           a compiled Plan: read(fields) -> dict, write(values) -> fields

Single values and their text are in `values`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any, Generic, NamedTuple, TypeVar

from .codec import MAX_SERVER_VERSION, MIN_SERVER_VERSION
from .values import (
    UNSET_DOUBLE_TEXT,
    UNSET_INT,
    Number,
    escape,
    integer_text,
    number_text,
    optional_text,
    plain_text,
    read_bool,
    read_decimal,
    read_finite,
    read_float_or_none,
    read_integer,
    read_long,
    read_tags,
    tags_text,
    unescape,
)

T = TypeVar("T")
Values = Mapping[str, Any]
Test = Callable[[Values], Any]


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


#: From this version on sizes may be fractional (IB: MIN_SERVER_VER_SIZE_RULES is 164, decimals since 163).
FRACTIONAL_SIZES = 163

Take = Callable[[Reader], Any]
Put = Callable[[Any, list[str]], None]


class Bound(NamedTuple):
    """A kind at one server version. `parse` and `render` are there when it is exactly one field."""

    take: Take
    put: Put
    parse: Callable[[str], Any] | None = None
    render: Callable[[Any], str] | None = None


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

        return Bound(take, put, parse, render)


def int_or(unset: Any) -> Kind[Any]:
    """A 32-bit integer; `unset` is what an unset field means (None: it has no value)."""

    def parse(text: str) -> Any:
        if text == "0":
            return 0
        if text == "" or text == "2147483647":
            return unset
        return read_integer(text)

    def render(value: Any) -> str:
        return "" if value is None else str(int(value))

    return Scalar(parse, render if unset is None else integer_text)


def _number_or(unset: float) -> Kind[float]:
    def parse(text: str) -> float:
        value = read_finite(text)
        return unset if value is None else float(value)

    return Scalar(parse, number_text)


def sentinel(missing: int) -> Kind[float | None]:
    """A float whose absence IB writes as `missing` (-1, -2): None on our side, never on the wire."""

    def parse(text: str) -> float | None:
        value = read_finite(text)
        return None if value is None or value == missing else float(value)

    def render(value: Number | None) -> str:
        return str(missing) if value is None else number_text(value)

    return Scalar(parse, render)


#: A required identifier (reqId, orderId, clientId): unset is an error.
ID: Kind[int] = Scalar(read_integer, integer_text)
#: 64-bit, for permId and epoch times; required.
LONG: Kind[int] = Scalar(read_long, integer_text)
#: Unset reads as 0, as TWS takes it.
INT: Kind[int] = int_or(0)
OPT_INT: Kind[int | None] = int_or(None)
BOOL: Kind[bool] = Scalar(read_bool, lambda value: "1" if value else "0")
TEXT: Kind[str] = Scalar(str, plain_text)
#: Text that only ASCII may carry.
ESCAPED: Kind[str] = Scalar(unescape, escape)
#: Float; unset reads as 0.
NUMBER: Kind[float] = _number_or(0.0)
#: Float or None, None written as "".
OPT_NUMBER: Kind[float | None] = Scalar(read_float_or_none, optional_text)
#: Float or None, None written as 1.7976931348623157E308.
MAX_NUMBER: Kind[float | None] = Scalar(
    read_float_or_none, lambda value: UNSET_DOUBLE_TEXT if value is None else number_text(value)
)
#: 32-bit integer or None, None written as 2147483647.
MAX_INT: Kind[int | None] = Scalar(
    lambda text: None if text in ("", str(UNSET_INT)) else read_integer(text),
    lambda value: str(UNSET_INT if value is None else int(value)),
)
#: Decimal or None; a price or an amount of an order.
OPT_DECIMAL: Kind[Decimal | None] = Scalar(read_finite, optional_text)
#: Decimal or None, where "Infinity" has a meaning.
OFFSET: Kind[Decimal | None] = Scalar(read_decimal, optional_text)
#: Decimal; unset reads as 0; None is written as 0.
QUANTITY: Kind[Decimal] = Scalar(
    lambda text: read_finite(text) or Decimal(0), lambda value: "0" if value is None else number_text(value)
)
#: `tag=value;` pairs in one field.
TAGS: Kind[tuple[tuple[str, str], ...]] = Scalar(read_tags, tags_text)


class _Size(Kind[Decimal]):
    """A market size: fractional since 163, cut to a whole number before it."""

    def bind(self, server_version: int) -> Bound:
        if server_version >= FRACTIONAL_SIZES:
            return QUANTITY.bind(server_version)
        return Scalar(lambda text: Decimal(read_long(text or "0")), lambda value: str(int(value or 0))).bind(
            server_version
        )


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
        take_item, put_item, *_ = self._item.bind(server_version)

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
        take_value, put_value, *_ = self._kind.bind(server_version)

        def take(reader: Reader) -> Any:
            return take_value(reader) if read_bool(reader.take()) else None

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


class _ReadStep(NamedTuple):
    """A row bound to a version. `parse` is set for single fields: the loop calls it directly, since an order has
    more than a hundred of them."""

    name: str
    parse: Callable[[str], Any] | None
    take: Take
    when: Test | None
    optional: bool
    default: Any


class _WriteStep(NamedTuple):
    name: str
    render: Callable[[Any], str] | None
    put: Put
    when: Test | None


class Plan:
    """The rows of one message at one server version, ready to run."""

    __slots__ = ("_reads", "_writes", "defaults", "names")

    def __init__(self, rows: Sequence[Row], server_version: int) -> None:
        self._reads: list[_ReadStep] = []
        self._writes: list[_WriteStep] = []
        for row in rows:
            if row.carried_by(server_version):
                take, put, parse, render = row.kind.bind(server_version)
                self._reads.append(_ReadStep(row.name, parse, take, row.when, row.optional, row.default))
                self._writes.append(_WriteStep(row.name, render, put, row.when))
        self.names = frozenset(row.name for row in rows if row.name)
        self.defaults = {row.name: row.default for row in rows if row.name and not row.required}

    def read(self, reader: Reader) -> dict[str, Any]:
        """Values by name; raises PartialRead with what was read so far in `.values`."""
        values: dict[str, Any] = {}
        fields, at = reader.fields, reader.at
        name = ""
        try:
            for name, parse, take, when, optional, default in self._reads:
                if when is not None and not when(values):
                    continue
                if optional and at >= len(fields):
                    values[name] = default
                elif parse is not None:
                    values[name] = parse(fields[at])
                    at += 1
                else:
                    reader.at = at
                    values[name] = take(reader)
                    at = reader.at
        except FieldProblem as problem:
            raise PartialRead(f"{name}.{problem.path}", problem.reason, values) from None
        except IndexError:
            raise PartialRead(name or "version", "the message ends before this field", values) from None
        except ValueError as reason:
            raise PartialRead(name or "version", str(reason), values) from None
        reader.at = at
        values.pop("", None)
        return values

    def write(self, values: Values, out: list[str]) -> None:
        """Appends the fields; `values` has every name, defaults included."""
        name = ""
        append = out.append
        try:
            for name, render, put, when in self._writes:
                if when is not None and not when(values):
                    continue
                if render is not None:
                    append(render(values[name]))
                else:
                    put(values[name] if name else None, out)
        except (ValueError, TypeError, AttributeError) as reason:
            raise FieldProblem(name, str(reason)) from reason

    def write_object(self, value: Any, out: list[str]) -> None:
        """As `write`, from attributes; for rows without `when`."""
        for name, _, put, _ in self._writes:
            put(getattr(value, name) if name else None, out)


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

        def take(reader: Reader) -> Any:
            return make(**plan.read(reader))

        def put(value: Any, out: list[str]) -> None:
            plan.write_object(value, out)

        return Bound(take, put)


@cache
def version_field(number: int, until: int = MAX_SERVER_VERSION) -> Row:
    """The message's own version number, that most messages carry as their first field."""
    return Row("", Const(str(number)), until=until)
