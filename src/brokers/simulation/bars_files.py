"""OHLCV files, CSV or Parquet, as series of bars on the tick grid.

Column names, order of rows and spelling of dates are taken as they come; content that cannot be true is refused with
the file, the row and what to do. Prices are rounded to the tick once, here; everything served comes from that.
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from ..domain.instrument import InstrumentDetails, normalize_symbol
from ..errors import InvalidData, InvalidInstrument
from .bars_times import TimeReader
from .contracts import stock
from .history import EXCHANGE_ZONE
from .walk import Grid

SUFFIXES = (".csv", ".parquet", ".pq")
_DAY = timedelta(days=1)

#: Role -> column names that play it, in lower case without blanks, dots and underscores.
COLUMNS: dict[str, tuple[str, ...]] = {
    "date": ("date", "datetime", "timestamp", "day", "index", ""),
    "time": ("time", "timeofday"),
    "open": ("open", "o", "openprice"),
    "high": ("high", "h", "highprice"),
    "low": ("low", "l", "lowprice"),
    "close": ("close", "c", "closeprice", "last"),
    "volume": ("volume", "vol", "v"),
    "adjusted": ("adjclose", "adjustedclose", "closeadj"),
}
_REQUIRED = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True, slots=True)
class BarRow:
    """One bar as the file has it. `start` is the day's midnight without a zone for daily bars, aware UTC for others.

    Prices in grid units; `adjusted` is adjusted over traded close, 1.0 without such a column; `row` is the line in the
    file (1 is the header) or the row of a Parquet table (1 is the first).
    """

    start: datetime
    open: int
    high: int
    low: int
    close: int
    volume: int
    adjusted: float
    row: int


@dataclass(frozen=True, slots=True)
class BarSeries:
    """All bars of one instrument, ascending. `width` is the bar's length, one day for daily bars.

    `phase` is the offset of intraday bars from the exchange's midnight, modulo `width` (30 minutes for hours that run
    from 09:30 to 10:30).
    """

    details: InstrumentDetails
    grid: Grid
    width: timedelta
    phase: timedelta
    rows: Sequence[BarRow]
    source: str

    @property
    def symbol(self) -> str:
        return self.details.instrument.symbol

    @property
    def is_daily(self) -> bool:
        return self.width == _DAY


def load_bars(paths: Iterable[Path | str]) -> list[BarSeries]:
    """One series per file; a folder stands for the bar files in it. Raises InvalidData."""
    series: dict[str, BarSeries] = {}
    for path in _files(paths):
        loaded = load_file(path)
        other = series.setdefault(loaded.symbol, loaded)
        if other is not loaded:
            raise _refuse(path, f"{other.source} already holds {loaded.symbol}", "give one file a symbol")
    return list(series.values())


def bar_symbols(paths: Iterable[Path | str]) -> list[str]:
    """The symbols that `load_bars` would serve, by the files' names alone. Raises InvalidData."""
    return [_symbol_of(path) for path in _files(paths)]


def _symbol_of(path: Path) -> str:
    try:
        return normalize_symbol(path.stem)
    except InvalidInstrument as error:
        raise _refuse(path, f"its name is not a symbol ({error.why})", "name the file like AAPL.csv") from None


def load_file(path: Path | str) -> BarSeries:
    """The bars of one file; the symbol is its stem."""
    path = Path(path)
    symbol = _symbol_of(path)
    table = _read_parquet(path) if path.suffix.lower() in SUFFIXES[1:] else _read_csv(_text(path), path)
    return _series(symbol, table, path)


def parse_bars(symbol: str, text: str, source: str) -> BarSeries:
    """The bars of CSV text; `source` names it in errors."""
    return _series(symbol, _read_csv(text, source), source)


def _files(paths: Iterable[Path | str]) -> Iterator[Path]:
    for entry in paths:
        path = Path(entry)
        if path.is_dir():
            found = sorted(
                child for child in path.iterdir() if child.suffix.lower() in SUFFIXES and not child.name.startswith(".")
            )
            if not found:
                raise _refuse(path, "the folder holds no CSV or Parquet file", "name a folder with bar files")
            yield from found
        elif not path.exists():
            raise _refuse(path, "there is no such file or folder", "check the path")
        elif path.suffix.lower() not in SUFFIXES:
            raise _refuse(path, f"files of type {path.suffix or 'none'!r} are not read", "use .csv or .parquet")
        else:
            yield path


def _refuse(path: Path | str, why: str, next: str, row: int | None = None) -> InvalidData:
    what = f"bars in {path}" + ("" if row is None else f", row {row}")
    return InvalidData(what, why, next, file=str(path), row=row)


@dataclass(frozen=True, slots=True)
class _Table:
    """The file's columns by role, and the number of each row."""

    columns: Mapping[str, Sequence[Any]]
    numbers: Sequence[int]


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refuse(path, f"byte {error.start} is not UTF-8", "save it as UTF-8") from None
    except OSError as error:
        raise _refuse(path, f"it cannot be read ({error.strerror})", "check its permissions") from None


def _read_csv(text: str, path: Path | str) -> _Table:
    header_line = text.lstrip("\r\n").split("\n", 1)[0]
    if not header_line.strip():
        raise _refuse(path, "it is empty", "give a file with a header and at least two bars")
    delimiter = max(",;\t|", key=header_line.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    header: list[str] | None = None
    rows: list[list[str]] = []
    numbers: list[int] = []
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header = cells
                continue
            if len(cells) != len(header):
                why = f"it has {len(cells)} fields where the header has {len(header)}"
                raise _refuse(path, why, "mend or remove the row", reader.line_num)
            rows.append(cells)
            numbers.append(reader.line_num)
    except csv.Error as error:
        raise _refuse(path, f"it is not CSV ({error})", "export it again", reader.line_num) from None
    roles = _roles(header or [], path)
    return _Table({role: [cells[at] for cells in rows] for role, at in roles.items()}, numbers)


def _read_parquet(path: Path) -> _Table:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise _refuse(path, "Parquet needs pyarrow", "pip install 'moondev-ibkr[parquet]', or use CSV") from None
    try:
        table = parquet.read_table(path)
    except (ArrowException, OSError) as error:
        raise _refuse(path, f"it is not a readable Parquet file ({error})", "write it again") from None
    names = [str(name) for name in table.column_names]
    # pandas stores an unnamed index under this name.
    roles = _roles(["" if name.startswith("__index_level_") else name for name in names], path)
    return _Table({role: table.column(at).to_pylist() for role, at in roles.items()}, range(1, table.num_rows + 1))


def _roles(header: Sequence[str], path: Path | str) -> dict[str, int]:
    """Which column plays which role."""
    plain = ["".join(ch for ch in name.lower() if ch.isalnum()) for name in header]
    roles: dict[str, int] = {}
    for role, names in COLUMNS.items():
        places = [at for name in names for at, column in enumerate(plain) if column == name]
        if len(places) > 1 and role != "date":
            named = ", ".join(repr(header[at]) for at in places)
            raise _refuse(path, f"several columns could be the {role}: {named}", "keep one of them")
        if places:
            roles[role] = places[0]
    if "date" not in roles and "time" in roles:
        roles["date"] = roles.pop("time")
    missing = [role for role in ("date", *_REQUIRED) if role not in roles]
    if missing:
        why = f"no column for {', '.join(missing)} among {', '.join(repr(name) for name in header)}"
        raise _refuse(path, why, "the first row must name date, open, high, low, close and volume")
    return roles


def _series(symbol: str, table: _Table, path: Path | str) -> BarSeries:
    if not table.numbers:
        raise _refuse(path, "it has no bars", "give a file with at least two bars")
    values = {role: _numbers(table, role, path) for role in _REQUIRED}
    details = stock(symbol, sub_dollar=min(values["low"]) < 1)
    grid = Grid(details.increments)
    starts = _starts(table, path)
    adjusted = _numbers(table, "adjusted", path) if "adjusted" in table.columns else None
    rows = []
    for at, (start, number) in enumerate(zip(starts, table.numbers, strict=True)):
        opened, high, low, close = (grid.units(values[role][at]) for role in ("open", "high", "low", "close"))
        _check((opened, high, low, close), values, at, path, number)
        ratio = 1.0 if adjusted is None else adjusted[at] / values["close"][at]
        rows.append(BarRow(start, opened, high, low, close, round(values["volume"][at]), ratio, number))
    rows = _in_order(rows, path)
    width, phase = _width(rows, path)
    if width != _DAY:
        rows = [_in_utc(row) for row in rows]
    return BarSeries(details, grid, width, phase, rows, str(path))


def _numbers(table: _Table, role: str, path: Path | str) -> list[float]:
    numbers = []
    for value, row in zip(table.columns[role], table.numbers, strict=True):
        try:
            number = float(value.replace(",", "") if isinstance(value, str) else value)
        except (TypeError, ValueError):
            raise _refuse(path, f"{role} {value!r} is not a number", "mend or remove the row", row) from None
        if not math.isfinite(number):
            raise _refuse(path, f"{role} is {number}", "mend or remove the row", row)
        if number < 0 or (number == 0 and role != "volume"):
            raise _refuse(path, f"{role} {number:g} is not above zero", "mend or remove the row", row)
        numbers.append(number)
    return numbers


def _check(units: Sequence[int], values: Mapping[str, list[float]], at: int, path: Path | str, row: int) -> None:
    """The bar's own logic, after rounding: a difference below half a tick is no error."""
    opened, high, low, close = units
    why = ""
    if high < low:
        why = f"high {values['high'][at]:g} is below low {values['low'][at]:g}"
    for name, value in (("open", opened), ("close", close)):
        if not why and not low <= value <= high:
            why = f"{name} {values[name][at]:g} lies outside low {values['low'][at]:g} to high {values['high'][at]:g}"
    if not why and low <= 0:
        why = f"low {values['low'][at]:g} is less than one tick"
    if why:
        raise _refuse(path, why, "mend or remove the row", row)


def _starts(table: _Table, path: Path | str) -> list[datetime]:
    """Times as written: naive as exchange time, others with their own offset."""
    clock = table.columns.get("time")
    reader = TimeReader(table.columns["date"])
    starts = []
    for at, (value, row) in enumerate(zip(table.columns["date"], table.numbers, strict=True)):
        if clock is not None:
            value = f"{value} {clock[at]}"
        try:
            starts.append(reader.read(value))
        except ValueError as error:
            raise _refuse(
                path, f"date {value!r}: {error}", "write dates like 2024-01-31 or 2024-01-31 09:30", row
            ) from None
    return starts


def _in_order(rows: list[BarRow], path: Path | str) -> list[BarRow]:
    """Sorted by time; rows that say the same twice are kept once, rows that contradict each other are refused."""
    rows = sorted(rows, key=lambda row: (_instant(row.start), row.row))
    kept = rows[:1]
    for row in rows[1:]:
        if _instant(row.start) != _instant(kept[-1].start):
            kept.append(row)
        elif (row.open, row.high, row.low, row.close, row.volume) != _content(kept[-1]):
            why = f"it has the time of row {kept[-1].row} ({row.start}) and other values"
            raise _refuse(path, why, "keep one of the two", row.row)
    if len(kept) < 2:
        raise _refuse(path, "one bar is not a series", "give at least two bars")
    return kept


def _content(row: BarRow) -> tuple[int, int, int, int, int]:
    return row.open, row.high, row.low, row.close, row.volume


def _instant(moment: datetime) -> datetime:
    return moment.replace(tzinfo=EXCHANGE_ZONE) if moment.tzinfo is None else moment


def _width(rows: list[BarRow], path: Path | str) -> tuple[timedelta, timedelta]:
    """The bars' length and phase, from their spacing. Daily rows are made naive midnights of the day as written."""
    gaps = Counter(_instant(after.start) - _instant(before.start) for before, after in pairwise(rows))
    width = min(gap for gap, times in gaps.items() if times == max(gaps.values()))
    if width > 4 * _DAY:
        raise _refuse(path, f"its bars are {width.days} days apart", "give daily or shorter bars")
    if width >= timedelta(hours=20):
        _make_daily(rows, path)
        return _DAY, timedelta(0)
    phases = Counter(_since_midnight(row.start) % width for row in rows)
    phase = phases.most_common(1)[0][0]
    for before, after in pairwise(rows):
        on_grid = (_since_midnight(after.start) - phase) % width == timedelta(0)
        if _instant(after.start) - _instant(before.start) < width and not on_grid:
            why = f"bar sizes are mixed: most bars are {width} apart, this one comes sooner"
            raise _refuse(path, why, "keep one bar size a file", after.row)
    return width, phase


def _make_daily(rows: list[BarRow], path: Path | str) -> None:
    for at, row in enumerate(rows):
        day = datetime.combine(row.start.date(), time())
        if at and rows[at - 1].start == day:
            why = f"bar sizes are mixed: most bars are a day apart, row {rows[at - 1].row} is of the same day"
            raise _refuse(path, why, "keep one bar size a file", row.row)
        rows[at] = BarRow(day, *_content(row), row.adjusted, row.row)


def _since_midnight(moment: datetime) -> timedelta:
    local = moment if moment.tzinfo is None else moment.astimezone(EXCHANGE_ZONE)
    return timedelta(hours=local.hour, minutes=local.minute, seconds=local.second, microseconds=local.microsecond)


def _in_utc(row: BarRow) -> BarRow:
    return BarRow(_instant(row.start).astimezone(UTC), *_content(row), row.adjusted, row.row)


def day_of(row: BarRow) -> date:
    """The exchange's date of a row: as written for daily bars, where the exchange stands for others."""
    return row.start.date() if row.start.tzinfo is None else row.start.astimezone(EXCHANGE_ZONE).date()
