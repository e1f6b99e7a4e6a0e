"""Alerts: once per finding to each sink, over restarts; a failing sink is counted and stops nobody."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from moondev_ibkr.agents.analysis.alerts import Alert, AlertDesk, FileSink, LogSink, WebhookSink
from moondev_ibkr.agents.analysis.analysis_store import ABANDONED, AnalysisStore
from moondev_ibkr.brokers.errors import BrokerError, ConfigurationError, LinkLost, RequestFailed

from .conftest import NOON

ALERT = Alert("AAA", NOON.date(), NOON, 82, "down", "options", ("flow 90 of 100",), "asked ollama/large", False)
SECRET = "hook-0123456789-secret"


@dataclass
class Ear:
    name: str = "ear"
    fails: list[Exception] = field(default_factory=list)
    heard: list[Alert] = field(default_factory=list)

    async def send(self, alert: Alert) -> None:
        if self.fails:
            raise self.fails.pop(0)
        self.heard.append(alert)


async def test_a_finding_is_told_once_even_after_a_restart(tmp_path: Path) -> None:
    ear = Ear()
    for _ in range(3):
        store = AnalysisStore(tmp_path / "a.sqlite")
        told = await AlertDesk([ear], store).tell(ALERT)
        store.close()
    assert len(ear.heard) == 1
    assert (told.sent, told.before) == ((), ("ear",))


async def test_another_day_or_another_kind_of_evidence_is_another_finding(store: AnalysisStore) -> None:
    ear = Ear()
    desk = AlertDesk([ear], store)
    for one in (ALERT, replace(ALERT, threat=99), replace(ALERT, leading="news"), replace(ALERT, symbol="BBB")):
        await desk.tell(one)
    await desk.tell(replace(ALERT, day=NOON.date().replace(day=13)))
    assert [alert.key for alert in ear.heard] == [
        "20260312:AAA:options",
        "20260312:AAA:news",
        "20260312:BBB:options",
        "20260313:AAA:options",
    ]


@pytest.mark.parametrize("failure", [RequestFailed("ear", "deaf"), ZeroDivisionError("a bug in the sink")])
async def test_a_failing_sink_is_counted_and_asked_again_and_stops_nobody(
    store: AnalysisStore, failure: Exception
) -> None:
    deaf, ear = Ear("deaf", [failure]), Ear()
    desk = AlertDesk([deaf, ear], store)
    told = await desk.tell(ALERT)
    assert (told.sent, [name for name, _ in told.failed], desk.failures) == (("ear",), ["deaf"], {"deaf": 1})
    again = await desk.tell(ALERT)
    assert (again.sent, again.before) == (("deaf",), ("ear",))
    assert (len(deaf.heard), len(ear.heard)) == (1, 1)


async def test_a_sink_that_hangs_is_given_up_after_its_deadline(store: AnalysisStore) -> None:
    class Hanging(Ear):
        async def send(self, alert: Alert) -> None:
            await asyncio.Event().wait()

    ear = Ear()
    told = await AlertDesk([Hanging("slow"), ear], store, deadline=0.05).tell(ALERT)
    assert told.failed[0][0] == "slow"
    assert "no answer within 0.05 s" in told.failed[0][1]
    assert len(ear.heard) == 1


async def test_two_processes_tell_it_once_and_a_dead_one_s_claim_lapses(tmp_path: Path) -> None:
    clock = [1000.0]
    first = AnalysisStore(tmp_path / "a.sqlite", now=lambda: clock[0])
    other = AnalysisStore(tmp_path / "a.sqlite", now=lambda: clock[0])
    assert first.claim("f", "log", {})
    assert not other.claim("f", "log", {})
    clock[0] += ABANDONED + 1
    assert other.claim("f", "log", {})
    other.settle("f", "log", delivered=True)
    clock[0] += ABANDONED + 1
    assert not first.claim("f", "log", {})
    first.close()
    other.close()


async def test_the_log_and_the_file_hold_what_was_found(
    store: AnalysisStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "folder" / "alerts.jsonl"
    logger = logging.getLogger("moondev_ibkr.agents.analysis.alerts")
    logger.addHandler(caplog.handler)
    try:
        desk = AlertDesk([LogSink(), FileSink(path)], store)
        await desk.tell(ALERT)
        await desk.tell(replace(ALERT, symbol="BBB"))
    finally:
        logger.removeHandler(caplog.handler)
    assert "AAA threat 82 (down): flow 90 of 100" in caplog.text
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["symbol"] for row in rows] == ["AAA", "BBB"]
    assert rows[0]["threat"] == 82


async def test_a_file_that_cannot_be_written_is_told(store: AnalysisStore, tmp_path: Path) -> None:
    told = await AlertDesk([FileSink(tmp_path)], store).tell(ALERT)
    assert "directory" in told.failed[0][1]


@contextmanager
def receiver(*statuses: int) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """An HTTP server that answers with these statuses, the last one for ever; 0 never answers."""
    heard: list[dict[str, str]] = []
    left = list(statuses)
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            heard.append({"path": self.path, "key": self.headers["Idempotency-Key"], "body": body})
            status = left.pop(0) if len(left) > 1 else left[0]
            if status == 0:
                ended.wait(10)
                return
            self.send_response(status)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/{SECRET}", heard
    finally:
        ended.set()
        server.shutdown()
        server.server_close()
        thread.join(5)


async def test_a_webhook_gets_the_finding_with_its_key() -> None:
    with receiver(204) as (url, heard):
        await WebhookSink(url).send(ALERT)
    assert json.loads(heard[0]["body"]) == ALERT.to_json()
    assert (heard[0]["path"], heard[0]["key"]) == (f"/{SECRET}", ALERT.key)


@pytest.mark.parametrize(
    ("statuses", "tries", "ends"),
    [((503, 200), 2, None), ((500,), 3, 500), ((404,), 1, 404), ((302,), 1, 302), ((429, 429, 200), 3, None)],
)
async def test_a_webhook_is_tried_again_where_that_can_help(
    statuses: tuple[int, ...], tries: int, ends: int | None
) -> None:
    with receiver(*statuses) as (url, heard):
        sink = WebhookSink(url, pauses=(0.01, 0.01))
        if ends is None:
            await sink.send(ALERT)
        else:
            with pytest.raises(RequestFailed, match=str(ends)):
                await sink.send(ALERT)
    assert len(heard) == tries
    assert {row["path"] for row in heard} == {f"/{SECRET}"}, "redirects are not followed"


async def test_a_webhook_that_never_answers_has_a_deadline() -> None:
    with receiver(0) as (url, heard):
        with pytest.raises(LinkLost, match=r"no answer within 0.1 s"):
            await WebhookSink(url, timeout=0.1, pauses=()).send(ALERT)
        assert len(heard) == 1


async def test_the_webhook_s_address_is_shown_nowhere(store: AnalysisStore, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("moondev_ibkr.agents.analysis.alerts").addHandler(caplog.handler)
    with receiver(200) as (url, _):
        pass
    sink = WebhookSink(url, timeout=0.5, pauses=())
    told = await AlertDesk([sink], store).tell(ALERT)
    with pytest.raises(BrokerError) as failed:
        await sink.send(ALERT)
    with pytest.raises(ConfigurationError) as refused:
        WebhookSink(f"ftp://{SECRET}")
    shown = " ".join([repr(sink), str(told), repr(failed.value), str(refused.value), caplog.text])
    assert failed.value.__cause__ is None
    assert "cannot be reached" in shown
    assert SECRET not in shown
