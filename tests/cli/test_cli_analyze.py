"""`analyze` as a user gives it, over a gateway that runs already; with no model, with one that is down, with one."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from moondev_ibkr.agents.analysis.analysis_store import FILE, AnalysisStore
from moondev_ibkr.agents.analysis.collecting import EvidenceCollector

from .conftest import Command, GatewayThread, free_port


def reports(state: Path) -> list[str]:
    return sorted(path.suffix for path in (state / "simulation" / "analyses").iterdir())


def test_rules_screen_a_list_and_say_how_to_switch_a_model_on(on_market: Command, state: Path) -> None:
    told = on_market("analyze", "AAPL", "msft")
    assert told.code == 0, told.err
    assert "AAPL" in told.out
    assert "MSFT" in told.out
    assert "--small llama3.1:8b" in told.out
    assert reports(state) == [".json", ".md"]


def test_data_hold_every_row_with_its_evidence_and_who_answered(on_market: Command, state: Path) -> None:
    data = on_market("analyze", "AAPL", "IBM", "--json").data
    assert [row["answered_by"] for row in data["rows"]] == ["rules", "rules"]
    assert data["models"] == {"small": None, "large": None, "top": 10}
    for row in data["rows"]:
        assert 0 <= row["threat"] <= 100
        assert not row["degraded"]
        found = {one["id"]: one for one in row["evidence"]}
        assert found["price.sigma"]["value"] is not None
        assert all((one["value"] is None) == (one["missing"] is not None) for one in row["evidence"])
    saved = json.loads(Path(data["saved"][0]).read_text())
    assert saved["rows"] == data["rows"]


def test_one_that_cannot_be_scored_leaves_the_others(on_market: Command) -> None:
    told = on_market("analyze", "AAPL", "ZZZZ", "<x>", "--json")
    assert told.code == 1
    rows = {row["symbol"]: row for row in told.data["rows"]}
    assert rows["AAPL"]["threat"] is not None
    assert rows["ZZZZ"]["threat"] is None
    assert "knows no" in rows["ZZZZ"]["error"]
    assert "not a ticker" in rows["<x>"]["error"]


def test_a_list_comes_from_a_file(on_market: Command, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("\ufeffAAPL  # fruit\n\n# IBM\nMSFT, AAPL\n", encoding="utf-8")
    data = on_market("analyze", "--file", str(tmp_path / "list.txt"), "--json").data
    assert sorted(row["symbol"] for row in data["rows"]) == ["AAPL", "MSFT"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "no ticker is named"),
        (("--file", "/nowhere/list"), "no such file"),
        (("AAPL", "--small", "two words"), "names no model"),
        (("AAPL", "--large", "anthropic/"), "names no model"),
        (("AAPL", "--large", "anthropic/claude-x"), "it has no key"),
        (("AAPL", "--top", "-1"), "--top"),
        (("AAPL", "--continuous", "--every", "0"), "--every"),
        (("--scan", "TOP_PERC_GAIN:many"), "no number of rows"),
        (("--scan", "TOP_PERC_GAIN:51"), "between 1 and 50"),
        (("--scan", "what is hot"), "is no code"),
    ],
)
def test_wrong_input_is_one_line_and_code_2(command: Command, arguments: tuple[str, ...], says: str) -> None:
    told = command("analyze", *arguments)
    assert told.code == 2
    assert says in told.err
    assert len(told.err.strip().splitlines()) == 1


def test_a_binary_file_is_no_list(command: Command, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"\x89PNG\xff\xfe")
    told = command("analyze", "--file", str(tmp_path / "x.png"))
    assert (told.code, "not text" in told.err) == (2, True)


def test_a_list_comes_from_the_scanner_and_names_stand_before_it(on_market: Command) -> None:
    data = on_market("analyze", "--scan", "most_active:2", "--json").data
    assert len(data["rows"]) == 2
    named = on_market("analyze", "MSFT", "--scan", "MOST_ACTIVE:50", "--json").data
    ranked = {row["symbol"] for row in named["rows"]}
    assert ranked >= {"AAPL", "MSFT", "IBM"}
    told = on_market("analyze", "--scan", "BEST_OF_ALL")
    assert told.code == 1
    assert "BEST_OF_ALL is disabled" in told.err


def test_an_interrupted_scan_goes_on_with_the_list_that_it_ranked(on_market: Command, state: Path) -> None:
    data = on_market("analyze", "--scan", "MOST_ACTIVE:50", "--json").data
    day = data["id"].split("-")[0]
    store = AnalysisStore(state / "simulation" / FILE)
    name = f"scan MOST_ACTIVE:50 {day}"
    assert store.kept_rows(name) == {}, "a whole report needs no list any more"
    store.keep_row(name, "list", '["IBM"]')
    store.close()
    assert [row["symbol"] for row in on_market("analyze", "--scan", "MOST_ACTIVE:50", "--json").data["rows"]] == ["IBM"]
    again = on_market("analyze", "--scan", "MOST_ACTIVE:50", "--json").data
    assert len(again["rows"]) == len(data["rows"])


def test_a_model_that_is_down_is_told_and_rules_stand_in(on_market: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IB_OLLAMA_HOST", f"127.0.0.1:{free_port()}")
    data = on_market("analyze", "AAPL", "--small", "small:8b", "--json").data
    row = data["rows"][0]
    assert (row["answered_by"], row["degraded"]) == ("rules", True)
    assert row["stages"]["small"]["failures"]
    shown = on_market("analyze", "AAPL", "--small", "small:8b").out
    assert "(degraded)" in shown
    assert "1 x asked ollama/small:8b" in shown


class Ollama:
    """Scores every subject 88 by a whole answer, which cites what it was asked about."""

    def __init__(self) -> None:
        asked = self.asked = list[dict[str, Any]]()

        class Handler(BaseHTTPRequestHandler):
            def _reply(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
                data = json.dumps(self._answer(body)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def _answer(self, body: dict[str, Any]) -> dict[str, Any]:
                models = [{"name": "m:1", "model": "m:1", "digest": "d", "size": 1, "size_vram": 1}]
                if self.path != "/api/chat":
                    return {"models": models}
                asked.append(body)
                ids = re.findall(r"^([a-z]+\.[a-z0-9_]+) \|", body["messages"][-1]["content"], re.MULTILINE)[:1]
                answer = {"reasoning": "r", "factors": [], "score": 88, "confidence": 0.9, "direction": "down"}
                text = json.dumps(answer | {"evidence_ids": ids})
                return {"model": "m:1", "message": {"role": "assistant", "content": text}, "done": True} | {
                    "done_reason": "stop",
                    "prompt_eval_count": 9,
                    "eval_count": 9,
                }

            do_GET = do_POST = _reply

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})


@pytest.fixture
def ollama(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ollama]:
    made = Ollama()
    made.thread.start()
    monkeypatch.setenv("IB_OLLAMA_HOST", f"127.0.0.1:{made.server.server_port}")
    yield made
    made.server.shutdown()
    made.thread.join()
    made.server.server_close()


def test_two_models_answer_and_a_finding_is_alerted_once(on_market: Command, ollama: Ollama, state: Path) -> None:
    arguments = ("analyze", "AAPL", "MSFT", "--small", "m:1", "--large", "ollama/m:1", "--top", "1", "--json")
    told = on_market(*arguments)
    data = told.data
    rows = data["rows"]
    assert {row["answered_by"] for row in rows} == {"asked ollama/m:1"}
    assert sum("large" in row["stages"] for row in rows) == 1
    assert all(row["threat"] >= 88 for row in rows)
    lines = (state / "simulation" / "alerts.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["symbol"] for line in lines) == ["AAPL", "MSFT"]
    again = on_market(*arguments).data
    assert [alert["sent"] for alert in again["alerts"]] == [[], []]
    assert len((state / "simulation" / "alerts.jsonl").read_text().splitlines()) == 2
    assert "alert: AAPL threat" in (state / "simulation" / "moondev-ibkr.log").read_text()


def test_what_an_interrupted_run_did_is_not_done_again(on_market: Command, ollama: Ollama, state: Path) -> None:
    arguments = ("analyze", "AAPL", "IBM", "--small", "m:1", "--json")
    data = on_market(*arguments).data
    store = AnalysisStore(state / "simulation" / FILE)
    assert store.kept_rows(data["id"]) == {}, "a whole report is kept as files alone"
    report = next(row for row in data["rows"] if row["symbol"] == "IBM")
    fields = ("symbol", "time", "threat", "direction", "coverage", "leading", "reasons")
    row = {name: report[name] for name in fields} | report["stages"] | {"threat": 41}
    store.keep_row(data["id"], "IBM", json.dumps(row))
    store.keep_row(data["id"], "AAPL", '{"not": "a row"}')
    store.close()
    again = on_market(*arguments).data
    assert again["id"] == data["id"]
    assert again["resumed"] == 1
    assert {row["symbol"]: row["threat"] == 41 for row in again["rows"]} == {"AAPL": False, "IBM": True}


def test_the_account_is_not_touched(on_market: Command, market: GatewayThread) -> None:
    on_market("analyze", "AAPL", "MSFT", "IBM")
    assert on_market("orders", "--all", "--json").data == {"orders": [], "fills": []}


def test_what_the_company_reports_is_evidence(on_market: Command) -> None:
    (row,) = on_market("analyze", "AAPL", "--json").data["rows"]
    found = {one["id"]: one["value"] for one in row["evidence"]}
    assert found["fundamentals.market_cap_m"] > 0
    assert found["fundamentals.employees"] >= 50
    assert found["fundamentals.revenue_growth_pct"] is not None


@pytest.mark.parametrize("more", [(), ("--continuous",), ("--json",)])
def test_ctrl_c_before_the_first_score_says_what_is_kept(
    on_market: Command, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...], state: Path
) -> None:
    async def interrupted(*_: object) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(EvidenceCollector, "collect", interrupted)
    told = on_market("analyze", "AAPL", *more)
    assert told.code == 130
    assert "the same command goes on from here" in " ".join((told.out + told.err).split())
    assert "kept" in told.out + told.err
    assert told.out == "" or "--json" not in more
    assert not (state / "simulation" / "analyses").exists(), "there is nothing to report"
