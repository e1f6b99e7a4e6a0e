"""The log of questions: nothing secret in it, the day's cap held across processes, and what it tells."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from moondev_ibkr.agents.llm import call_reports
from moondev_ibkr.agents.llm.call_log import Call, CallLog, Ending
from moondev_ibkr.agents.llm.chat_backend import Completion
from moondev_ibkr.agents.llm.prices import load_prices
from moondev_ibkr.agents.llm.request import Rung
from moondev_ibkr.agents.llm.troubles import Trouble, trouble_of
from moondev_ibkr.brokers.errors import ConfigurationError, RequestFailed
from moondev_ibkr.config.logging import Redactor

SECRET = "tok-en-0123456789"


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 28, 15, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def calls(tmp_path: Path, clock: Clock) -> Iterator[CallLog]:
    made = CallLog(tmp_path / "llm.sqlite3", redact=Redactor([SECRET]), daily_cap=Decimal(1), now=clock)
    with closing(made):
        yield made


def call(most: str = "0", **more: str) -> Call:
    words = {"subject": "AAPL", "system": "be brief", "prompt": "AAPL?", **more}
    return Call(
        "analysis", Rung.ASKED, backend="ollama", model="small:8b", schema_version="v1", most=Decimal(most), **words
    )


def completion(text: str, *, writing: float | None = 2.0) -> Completion:
    return Completion(text, "small:8b", 100, 50, 3.0, {}, writing_seconds=writing)


def refused(calls: CallLog, most: str) -> RequestFailed:
    with pytest.raises(RequestFailed) as caught:
        calls.begin(call(most))
    return caught.value


def test_nothing_touches_the_disk_until_something_is_asked(calls: CallLog) -> None:
    assert not calls.path.exists()
    calls.begin(call())
    assert calls.path.exists()


def test_a_question_is_there_before_its_answer(calls: CallLog) -> None:
    number = calls.begin(call())
    (row,) = call_reports.questions(calls, 5)
    assert (row["outcome"], row["prompt"], row["system"], row["answer"]) == ("asked", "AAPL?", "be brief", None)
    calls.end(number, Ending("http://one", "d", "k", completion("{}"), seconds=1.5, queued=0.5, cost=Decimal("0.01")))
    (row,) = call_reports.questions(calls, 5)
    assert (row["outcome"], row["answer"], row["host"], row["cost"]) == ("answered", "{}", "http://one", 0.01)
    assert (row["prompt_tokens"], row["completion_tokens"], row["queued"]) == (100, 50, 0.5)


def test_a_secret_is_in_no_byte_of_the_file(calls: CallLog, tmp_path: Path) -> None:
    number = calls.begin(
        call(subject=f"s {SECRET}", system=f"sys {SECRET}", prompt=f"password={SECRET} sk-ant-abcdefgh12")
    )
    calls.end(number, Ending(completion=completion(f"it is {SECRET}"), key="k", error=f"e {SECRET}", trouble="x"))
    calls.close()
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert SECRET.encode() not in written
    assert b"sk-ant-abcdefgh12" not in written
    assert b"it is ***" in written


def test_an_answer_that_was_redacted_serves_nobody_again(calls: CallLog) -> None:
    for text, key in (("plain", "k1"), (f"with {SECRET}", "k2")):
        calls.end(calls.begin(call()), Ending(completion=completion(text), key=key, digest="d"))
    stored = calls.earlier("k1")
    assert stored is not None
    assert stored.text == "plain"
    assert calls.earlier("k2") is None


def test_the_cap_counts_what_is_under_way_at_its_most(calls: CallLog) -> None:
    first = calls.begin(call("0.6"))
    error = refused(calls, "0.5")
    assert trouble_of(error) is Trouble.COST_CAP
    assert "0.6000 of 1.00" in str(error)
    calls.end(first, Ending(completion=completion("{}"), cost=Decimal("0.1")))
    calls.begin(call("0.5"))
    assert calls.spent() == Decimal("0.6")


def test_what_may_have_been_charged_stays_counted(calls: CallLog) -> None:
    calls.end(calls.begin(call("0.6")), Ending(trouble="deadline"))
    assert calls.spent() == Decimal("0.6")


def test_each_utc_day_has_its_own_cap(calls: CallLog, clock: Clock) -> None:
    calls.begin(call("1"))
    refused(calls, "0.000001")
    clock.now = datetime(2026, 11, 29, 0, 0, tzinfo=UTC)
    calls.begin(call("1"))
    assert (calls.spent("2026-11-28"), calls.spent("2026-11-29")) == (1, 1)


def test_free_questions_pass_a_cap_that_is_reached(calls: CallLog) -> None:
    calls.begin(call("1"))
    calls.begin(call("0"))


OTHER_PROCESS = """
import sys
from decimal import Decimal
from pathlib import Path
from moondev_ibkr.agents.llm.call_log import Call, CallLog
from moondev_ibkr.agents.llm.request import Rung
calls = CallLog(Path(sys.argv[1]), redact=str, daily_cap=Decimal(1))
passed = 0
print("ready", flush=True)
sys.stdin.readline()
for _ in range(400):
    try:
        calls.begin(Call("p", Rung.ASKED, "S", "b", "m", "v", "s", "q", Decimal("0.002")))
        passed += 1
    except Exception as error:
        assert "0.0020 USD" in str(error), error
print(passed)
"""


def test_processes_share_one_cap(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OTHER_PROCESS, str(tmp_path / "llm.sqlite3")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with ExitStack() as running:
        others = [running.enter_context(subprocess.Popen(command, **pipes)) for _ in range(3)]  # type: ignore[call-overload]
        for other in others:
            assert other.stdout.readline() == "ready\n"
        for other in others:
            other.stdin.write("go\n")
            other.stdin.flush()
        told = [other.communicate(timeout=60) for other in others]
        assert [other.returncode for other in others] == [0] * 3, told
    assert sum(int(out) for out, _ in told) == 500


def test_threads_share_one_log(calls: CallLog) -> None:
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda _: calls.begin(call()), range(64)))
    assert len(set(numbers)) == 64


def test_a_file_that_is_no_log_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "llm.sqlite3"
    file.write_text("not a database, but long enough to be read as one" * 20)
    with closing(CallLog(file, redact=str, daily_cap=None)) as calls:
        with pytest.raises(RequestFailed) as caught:
            calls.begin(call())
    assert trouble_of(caught.value) is Trouble.LOG_FAILED


def test_sums_by_day_and_model(calls: CallLog) -> None:
    for seconds in (1.0, 2.0, 9.0):
        calls.end(calls.begin(call()), Ending(completion=completion("{}"), seconds=seconds, key="k", cost=Decimal(0)))
    calls.end(calls.begin(call()), Ending(trouble="deadline"))
    stored = calls.earlier("k")
    assert stored is not None
    calls.answered_from(stored, call())
    (row,) = call_reports.by_model(calls, 3)
    counts = (row["asked"], row["answered"], row["cached"], row["failed"])
    assert counts == (4, 3, 1, 1)
    assert (row["prompt_tokens"], row["median_seconds"], row["tokens_per_second"]) == (300, 2.0, 25.0)
    assert call_reports.troubles(calls, 3) == [{"trouble": "deadline", "count": 1}]
    assert [row["outcome"] for row in call_reports.questions(calls, 9, failed=True)] == ["failed"]


DAY = date(2026, 11, 28)


def test_prices_hold_from_their_day_and_length() -> None:
    prices = load_prices()
    row = prices.row("claude-haiku-5-5", DAY, 100_000)
    long = prices.row("claude-haiku-5-5", DAY, 100_001)
    assert row is not None
    assert long is not None
    assert (row.prompt, long.prompt) == (Decimal("0.10"), Decimal("0.50"))
    assert prices.row("claude-haiku-5-5", date(2026, 10, 6), 10) is None
    assert prices.row("claude-haiku-4-5-20251001", DAY, 10) == prices.row("claude-haiku-4-5", DAY, 10) is not None
    assert prices.row("gpt-oss", DAY, 10) is None


def test_cached_tokens_cost_their_own_price() -> None:
    done = Completion(
        "{}", "claude-haiku-4-5", 1_000_000, 100_000, None, {}, cached_tokens=400_000, cache_written_tokens=100_000
    )
    # 500 000 at 1, 400 000 at 0.10, 100 000 at 1.25 and 100 000 written at 5 USD a million
    assert load_prices().cost("claude-haiku-4-5", DAY, done) == Decimal("0.5") + Decimal("0.04") + Decimal(
        "0.125"
    ) + Decimal("0.5")


def test_a_file_of_prices_replaces_ours_of_the_same_model(tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    rows = '{"model": "%s", "from": "2026-01-01", "prompt": "7", "cached": "7", "cache_write": "7", "answer": "7"}'
    file.write_text('{"rows": [' + rows % "claude-haiku-5-5" + "," + rows % "mine" + "]}")
    prices = load_prices(file)
    assert prices.most("claude-haiku-5-5", DAY, 1_000_000, 0) == 7
    assert prices.most("mine", DAY, 0, 1_000_000) == 7
    assert prices.most("claude-haiku-4-5", DAY, 0, 1_000_000) == 5


@pytest.mark.parametrize("text", ["", "[]", '{"rows": [{"model": "x"}]}', '{"rows": [1]}'])
def test_a_bad_file_of_prices_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "prices.json"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=r"prices\.json"):
        load_prices(file)
    with pytest.raises(ConfigurationError):
        load_prices(tmp_path / "none.json")
