"""Bar files: whatever spelling they come in they are read; whatever cannot be true is refused with its place."""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moondev_ibkr.brokers.errors import InvalidData
from moondev_ibkr.brokers.simulation.bars_files import BarSeries, load_bars, load_file, parse_bars
from pyarrow import parquet

from .price_fakes import at

HEADER = "Date,Open,High,Low,Close,Volume\n"
GOOD = HEADER + "2024-03-11,10,11,9,10.5,100\n2024-03-12,10.5,12,10,11,200\n"
ROWS = [(1000, 1100, 900, 1050, 100), (1050, 1200, 1000, 1100, 200)]
SHARED = Path("/work/shared/data")


def contents(series: BarSeries) -> list[tuple[int, int, int, int, int]]:
    return [(row.open, row.high, row.low, row.close, row.volume) for row in series.rows]


def days(series: BarSeries) -> list[date]:
    return [row.start.date() for row in series.rows]


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        GOOD.replace("\n", "\r\n"),
        "\n" + GOOD + "\n\n",
        GOOD.replace(",", ";"),
        GOOD.replace(",", "\t"),
        GOOD.replace(HEADER, "timestamp,OPEN,HIGH,LOW,CLOSE,VOL\n"),
        GOOD.replace(HEADER, " DateTime , open , high , low , close , volume \n"),
        GOOD.replace(HEADER, ",open,high,low,close,volume\n"),
        GOOD.replace("2024-03-11", "2024-03-11 00:00:00-04:00").replace("2024-03-12", "2024-03-12 00:00:00-04:00"),
        GOOD.replace("2024-03-11", "2024-03-11T00:00:00Z").replace("2024-03-12", "2024-03-12T00:00:00Z"),
        GOOD.replace("2024-03-11", "20240311").replace("2024-03-12", "20240312"),
        GOOD.replace("2024-03-11", "03/11/2024").replace("2024-03-12", "03/13/2024").replace("13/2024", "12/2024")
        + "03/13/2024,1,1,1,1,1\n",
        GOOD.replace("2024-03-11", "11-Mar-2024").replace("2024-03-12", "12-Mar-2024"),
        GOOD.replace("2024-03-11", "1710115200").replace("2024-03-12", "1710201600"),
        GOOD.replace("2024-03-11", "1710115200000").replace("2024-03-12", "1710201600000"),
        HEADER + "2024-03-12,10.5,12,10,11,200\n2024-03-11,10,11,9,10.5,100\n",
        GOOD + "2024-03-12,10.5,12,10,11,200\n",
        GOOD.replace("10.5,100", "10.5001,100").replace("11,9,", "11.004,8.9999,"),
        GOOD.replace(",100\n", ',"100.0"\n'),
    ],
)
def test_every_spelling_gives_the_same_bars(text: str) -> None:
    series = parse_bars("AAPL", text, "AAPL.csv")
    assert contents(series)[:2] == ROWS
    assert days(series)[:2] == [date(2024, 3, 11), date(2024, 3, 12)]
    assert series.is_daily


def test_a_byte_order_mark_is_no_part_of_the_header(tmp_path: Path) -> None:
    path = tmp_path / "aapl.csv"
    path.write_text(GOOD, encoding="utf-8-sig")
    assert contents(load_file(path)) == ROWS


def test_thousands_separators_in_quotes_are_read() -> None:
    series = parse_bars("AAPL", GOOD.replace(",100\n", ',"1,234,567"\n'), "AAPL.csv")
    assert series.rows[0].volume == 1_234_567


def test_adjusted_close_is_kept_beside_the_traded_close() -> None:
    text = "Date,Open,High,Low,Close,Adj Close,Volume\n2024-03-11,10,11,9,10,5,1\n2024-03-12,10,11,9,10,10,1\n"
    assert [row.adjusted for row in parse_bars("AAPL", text, "AAPL.csv").rows] == [0.5, 1.0]


def test_a_stock_below_one_dollar_keeps_its_finer_ticks() -> None:
    text = HEADER + "2024-03-11,0.5012,0.5100,0.4999,0.5001,100\n2024-03-12,1.004,1.02,0.98765,1.0,200\n"
    series = parse_bars("PENNY", text, "PENNY.csv")
    assert contents(series)[0][:4] == (5012, 5100, 4999, 5001)
    assert contents(series)[1][:4] == (10_000, 10_200, 9876, 10_000)


def test_gaps_and_bars_without_volume_are_no_defects() -> None:
    text = GOOD + "2024-03-13,11,11,11,11,0\n2024-05-02,12,13,11,12,10\n"
    assert len(parse_bars("AAPL", text, "AAPL.csv").rows) == 4


@pytest.mark.parametrize(
    ("lines", "width", "first"),
    [
        (["2024-03-11 09:30", "2024-03-11 09:31", "2024-03-11 09:32"], 60, "09:30"),
        (["2024-03-11T09:30:00-04:00", "2024-03-11T09:35:00-04:00", "2024-03-12T09:30:00-04:00"], 300, "09:30"),
        (["2024-03-11T13:30:00Z", "2024-03-11T13:35:00Z", "2024-03-11T13:40:00Z"], 300, "09:30"),
        (["20240311  09:30:00", "20240311  10:00:00", "20240311  11:00:00", "20240311  12:00:00"], 3600, "09:30"),
        (["2024-03-11 09:30", "2024-03-11 10:30", "2024-03-11 11:30"], 3600, "09:30"),
        (["1710163800", "1710163860", "1710163920"], 60, "09:30"),
    ],
)
def test_the_bar_size_is_seen_from_the_spacing(lines: list[str], width: int, first: str) -> None:
    text = HEADER + "".join(f"{line},10,11,9,10,100\n" for line in lines)
    series = parse_bars("AAPL", text, "AAPL.csv")
    assert series.width == timedelta(seconds=width)
    assert series.rows[0].start == at(date(2024, 3, 11), first)
    assert series.rows[0].start.tzinfo is UTC


def test_date_and_time_may_be_two_columns() -> None:
    text = "Date,Time,Open,High,Low,Close,Volume\n2024-03-11,09:30,1,1,1,1,5\n2024-03-11,09:31,1,1,1,1,5\n"
    assert [row.start for row in parse_bars("AAPL", text, "AAPL.csv").rows] == [
        at(date(2024, 3, 11), "09:30"),
        at(date(2024, 3, 11), "09:31"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it is empty"),
        ("\n\n", "it is empty"),
        (HEADER, "it has no bars"),
        (HEADER + "2024-03-11,10,11,9,10,1\n", "one bar is not a series"),
        (GOOD.replace(HEADER, ""), "no column for date, open, high, low, close, volume"),
        (GOOD.replace("Volume", "Size"), "no column for volume"),
        (GOOD.replace("Date", "Foo"), "no column for date"),
        ("Date,Open,High,Low,Close,close,Volume\n2024-03-11,1,1,1,1,1,1\n", "several columns could be the close"),
        (GOOD.replace("11,9,10.5", "8,9,8.5"), r"row 2: high 8 is below low 9"),
        (GOOD.replace("12,10,11,200", "12,10,13,200"), r"row 3: close 13 lies outside low 10 to high 12"),
        (GOOD.replace("10.5,12,10,11", "9,12,10,11"), r"row 3: open 9 lies outside"),
        (GOOD.replace("11,9,10.5", "11,-9,10.5"), r"row 2: low -9 is not above zero"),
        (GOOD.replace(",200\n", ",-200\n"), r"row 3: volume -200 is not above zero"),
        (GOOD.replace("11,9,10.5", "nan,9,10.5"), r"row 2: high is nan"),
        (GOOD.replace("11,9,10.5", "inf,9,10.5"), r"row 2: high is inf"),
        (GOOD.replace("11,9,10.5", ",9,10.5"), r"row 2: high '' is not a number"),
        (GOOD.replace("11,9,10.5", "n/a,9,10.5"), r"row 2: high 'n/a' is not a number"),
        (GOOD.replace(",200\n", "\n"), r"row 3: it has 5 fields where the header has 6"),
        (GOOD.replace("2024-03-12", "yesterday"), r"row 3: date 'yesterday'.*not a date"),
        (GOOD.replace("2024-03-12", "2024-13-12"), r"row 3: date '2024-13-12'"),
        (GOOD.replace("2024-03-12", ""), r"row 3: date ''.*missing"),
        (GOOD.replace("2024-03-12", "12345"), r"row 3: date '12345'.*neither YYYYMMDD nor an epoch"),
        (GOOD.replace("2024-03-11", "03/11/2024").replace("2024-03-12", "03/12/2024"), "cannot be told apart"),
        (GOOD + "2024-03-12,10.5,12,10,11.5,200\n", r"row 4: it has the time of row 3 .*and other values"),
        (GOOD + "2024-03-12 10:00,10,11,9,10,1\n2024-03-13,1,1,1,1,1\n2024-03-14,1,1,1,1,1\n", "bar sizes are mixed"),
        (
            HEADER
            + "".join(f"2024-03-11 {t},1,1,1,1,1\n" for t in ("09:30", "09:35", "09:40", "09:41", "09:45", "09:50")),
            "row 5: bar sizes are mixed: most bars are 0:05:00 apart",
        ),
        (GOOD.replace("2024-03-12", "2024-03-18"), "its bars are 7 days apart"),
        (GOOD.replace("9,10.5", "0.00001,10.5"), r"row 2: low 1e-05 is less than one tick"),
        (HEADER + '2024-03-11,"1\n', "row"),
    ],
)
def test_what_cannot_be_true_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(InvalidData, match=message) as caught:
        parse_bars("AAPL", text, "AAPL.csv")
    assert "AAPL.csv" in str(caught.value)
    assert caught.value.next
    assert caught.value.data["file"] == "AAPL.csv"


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_no_bytes_make_anything_but_bars_or_a_clear_refusal(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "AAPL.csv"
    path.write_bytes(HEADER.encode() + data)
    with pytest.raises(InvalidData, match=r"AAPL\.csv"):
        load_file(path)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "AAPL.csv"
    path.write_bytes(b"Date,Open\xff\xfe")
    with pytest.raises(InvalidData, match="byte 9 is not UTF-8"):
        load_file(path)


def test_a_folder_stands_for_its_bar_files(tmp_path: Path) -> None:
    (tmp_path / "aapl.csv").write_text(GOOD)
    (tmp_path / "brk-b.CSV").write_text(GOOD)
    (tmp_path / "README.md").write_text("not bars")
    (tmp_path / ".hidden.csv").write_text("not bars")
    assert [series.symbol for series in load_bars([tmp_path])] == ["AAPL", "BRK B"]


def test_paths_that_hold_no_bars_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="the folder holds no CSV or Parquet file"):
        load_bars([tmp_path])
    with pytest.raises(InvalidData, match="there is no such file or folder"):
        load_bars([tmp_path / "AAPL.csv"])
    (tmp_path / "AAPL.xlsx").write_text("x")
    with pytest.raises(InvalidData, match=r"files of type '\.xlsx' are not read"):
        load_bars([tmp_path / "AAPL.xlsx"])
    (tmp_path / "a$b.csv").write_text(GOOD)
    with pytest.raises(InvalidData, match="its name is not a symbol"):
        load_bars([tmp_path / "a$b.csv"])


def test_one_symbol_in_two_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "AAPL.csv").write_text(GOOD)
    (tmp_path / "aapl.csv").write_text(GOOD)
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "AAPL.csv").write_text(GOOD)
    with pytest.raises(InvalidData, match="already holds AAPL"):
        load_bars([tmp_path / "AAPL.csv", tmp_path / "more"])


@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_parquet_gives_the_same_bars(tmp_path: Path, zone: str | None) -> None:
    moments = [datetime(2024, 3, day, tzinfo=None) for day in (11, 12)]  # noqa: DTZ001 - a day has no zone
    array = pa.array(moments, pa.timestamp("ns"))
    if zone:
        import pyarrow.compute as pc

        array = pc.assume_timezone(array, zone)
    columns = {
        "Open": [10.0, 10.5],
        "High": [11.0, 12.0],
        "Low": [9.0, 10.0],
        "Close": [10.5, 11.0],
        "Volume": [100, 200],
    }
    path = tmp_path / "AAPL.parquet"
    parquet.write_table(pa.table({"Date": array, **columns}), path)
    series = load_file(path)
    assert contents(series) == ROWS
    assert days(series) == [date(2024, 3, 11), date(2024, 3, 12)]


def test_a_null_in_parquet_names_its_row(tmp_path: Path) -> None:
    path = tmp_path / "AAPL.parquet"
    table = {"Date": ["2024-03-11", "2024-03-12"], "Open": [1.0, None], "High": [1.0, 1.0], "Low": [1.0, 1.0]}
    parquet.write_table(pa.table({**table, "Close": [1.0, 1.0], "Volume": [1, 1]}), path)
    with pytest.raises(InvalidData, match="row 2: open None is not a number"):
        load_file(path)


def test_a_broken_parquet_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "AAPL.parquet"
    path.write_bytes(b"PAR1 not really")
    with pytest.raises(InvalidData, match="not a readable Parquet file"):
        load_file(path)


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "AAPL.parquet"
    path.write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InvalidData, match=r"moondev-ibkr\[parquet\]"):
        load_file(path)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared folder is not on this machine")
def test_the_shared_files_load() -> None:
    series = load_bars([SHARED])
    assert [one.symbol for one in series] == ["JNJ", "KO", "MCD", "PEP", "PG", "T", "VZ", "WMT"]
    assert {len(one.rows) for one in series} == {500}
    assert all(one.is_daily for one in series)
