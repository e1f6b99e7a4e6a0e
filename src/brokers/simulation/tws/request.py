"""What every request is: a frozen dataclass whose attributes, in order, are the rows of its message."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from .codec import MAX_SERVER_VERSION, MIN_SERVER_VERSION
from .fields import REQUIRED, Kind, Row, Test

T = TypeVar("T")


def row(
    kind: Kind[T],
    *,
    since: int = MIN_SERVER_VERSION,
    until: int = MAX_SERVER_VERSION,
    when: Test | None = None,
    optional: bool = False,
    default: Any = REQUIRED,
) -> T:
    """A dataclass field that is also a `Row`; arguments as there. Typed as its kind's value, as field() is."""
    shape = Row("", kind, since, until, when, optional, default)
    if default is REQUIRED:
        return cast(T, field(metadata={"row": shape}))
    return cast(T, field(default=default, metadata={"row": shape}))


def blank(kind: Kind[T]) -> Any:
    """A field that the wire carries and nobody reads."""
    return field(default=None, init=False, repr=False, compare=False, metadata={"row": Row("", kind)})


@dataclass(frozen=True, kw_only=True)
class Request:
    """A message from the client, parsed. Subclasses say which; `messages_in.REQUESTS` lists them all."""

    @property
    def subject(self) -> int:
        """The id that an answer or an error is addressed to: reqId, else orderId, else -1."""
        return int(getattr(self, "reqId", getattr(self, "orderId", -1)))


def rows_of(cls: type[Request]) -> Sequence[Row]:
    """The layout that the class declares, named after its attributes."""
    rows = []
    for attribute in dataclasses.fields(cls):
        shape: Row = attribute.metadata["row"]
        name = attribute.name if attribute.init else ""
        rows.append(dataclasses.replace(shape, name=name))
    return rows
