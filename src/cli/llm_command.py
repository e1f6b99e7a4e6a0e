"""`moondev-ibkr llm log|stats|hosts`: what language models were asked, what it took, and where they run."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..agents.llm import call_reports
from ..agents.llm.call_log import CallLog
from ..agents.llm.models import Models
from ..agents.llm.telemetry import Telemetry, telemetry
from ..brokers.errors import NoData
from ..config.settings import LlmBackend, Settings, load_settings
from .boundary import FAILED, OK, print_json, run_async
from .options import ConfigOption, JsonOption
from .run_report import make_console


class LlmView(StrEnum):
    LOG = "log"
    STATS = "stats"
    HOSTS = "hosts"


def llm(
    view: Annotated[
        LlmView, typer.Argument(help="log: every question; stats: by day and model; hosts: servers, GPUs.")
    ],
    last: Annotated[int, typer.Option("--last", min=1, help="How many questions, or days.")] = 20,
    failed: Annotated[bool, typer.Option("--failed", help="log: only questions without a valid answer.")] = False,
    full: Annotated[bool, typer.Option("--full", help="log: with the prompts and answers.")] = False,
    config: ConfigOption = None,
    json_output: JsonOption = False,
) -> int:
    """Show what language models were asked and answered, what it cost, and where they run."""
    # Nothing is sent to the broker, so its environment does not matter here.
    settings = load_settings(config, i_understand_live=True)
    if view is LlmView.HOSTS:
        return _hosts(settings, as_json=json_output)
    models = Models(settings.model_copy(update={"llm_backends": ()}))
    with closing(models.ledger):
        calls = models.ledger.calls
        if not calls.path.exists():
            raise NoData("log of models", f"nothing was asked yet ({calls.path})", "set IB_LLM_BACKENDS and analyse")
        if view is LlmView.LOG:
            _log(calls, last, failed=failed, full=full, as_json=json_output)
        else:
            _stats(calls, last, as_json=json_output)
    return OK


def _log(calls: CallLog, last: int, *, failed: bool, full: bool, as_json: bool) -> None:
    rows = call_reports.questions(calls, last, failed=failed)
    if not full:
        rows = [{name: value for name, value in row.items() if name not in call_reports.TEXTS} for row in rows]
    if as_json:
        print_json({"file": str(calls.path), "questions": rows})
        return
    console = make_console()
    table = Table(title=f"last {len(rows)} questions", title_justify="left")
    for name in ("when (UTC)", "about", "model", "rung", "outcome", "tokens", "seconds", "USD", "error"):
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in _log_cells(row)))
    console.print(table)
    if full:
        for row in rows:
            title = f"\n{row['asked_at']} {row['model']} ({row['outcome']})"
            for text in (title, row["system"], row["prompt"], row["answer"] or row["error"] or ""):
                console.print(Text(text))


def _log_cells(row: dict[str, Any]) -> tuple[str, ...]:
    tokens = "" if row["prompt_tokens"] is None else f"{row['prompt_tokens']}+{row['completion_tokens']}"
    seconds = "" if row["seconds"] is None else f"{row['seconds']:.1f}"
    subject = row["subject"] or row["purpose"]
    when, cost = row["asked_at"][:19].replace("T", " "), f"{row['cost']:.4f}"
    outcome = row["trouble"] or row["outcome"]
    return (
        when,
        subject,
        f"{row['backend']} {row['model']}",
        row["rung"],
        outcome,
        tokens,
        seconds,
        cost,
        row["error"] or "",
    )


def _stats(calls: CallLog, days: int, *, as_json: bool) -> None:
    rows, troubles = call_reports.by_model(calls, days), call_reports.troubles(calls, days)
    spent = calls.spent()
    if as_json:
        print_json({"file": str(calls.path), "models": rows, "troubles": troubles, "spent_today": spent})
        return
    console = make_console()
    table = Table(title=f"models, last {days} days", title_justify="left")
    for name in ("day (UTC)", "model", "asked", "answered", "cached", "failed", "tokens", "tokens/s", "p50 s", "USD"):
        table.add_column(name, overflow="fold")
    for row in rows:
        rate = "" if row["tokens_per_second"] is None else f"{row['tokens_per_second']:.1f}"
        middle = "" if row["median_seconds"] is None else f"{row['median_seconds']:.1f}"
        tokens = f"{row['prompt_tokens']}+{row['completion_tokens']}"
        counts = (str(row[name]) for name in ("asked", "answered", "cached", "failed"))
        model = f"{row['backend']} {row['model']}"
        table.add_row(row["day"], Text(model), *counts, tokens, rate, middle, f"{row['cost']:.4f}")
    console.print(table)
    told = ", ".join(f"{row['trouble']} {row['count']}" for row in troubles)
    console.print(f"spent today: {spent:.4f} USD" + (f"; failures: {told}" if told else ""))


def _hosts(settings: Settings, *, as_json: bool) -> int:
    async def look() -> Telemetry:
        models = Models(settings)
        # The host's model type uses Ollama whether an analysis does or not.
        models.pool(LlmBackend.OLLAMA)
        try:
            return await telemetry(models)
        finally:
            await models.aclose()

    told = run_async(look())
    if as_json:
        print_json(asdict(told))
    else:
        _show_hosts(told, settings, make_console())
    return FAILED if any(host.trouble for host in told.hosts if host.backend in settings.llm_backends) else OK


def _show_hosts(told: Telemetry, settings: Settings, console: Console) -> None:
    table = Table(title="hosts", title_justify="left")
    for name in ("backend", "host", "state", "in memory (on GPU)", "on disk"):
        table.add_column(name, overflow="fold")
    for host in told.hosts:
        loaded = "not told" if host.loaded is None else ", ".join(_memory(row.name, row.vram) for row in host.loaded)
        models = "not told" if host.models is None else ", ".join(host.models)
        state = "answers" if host.trouble is None else host.trouble
        table.add_row(host.backend, host.url, Text(state), Text(loaded or "none"), Text(models or "none"))
    console.print(table)
    for gpu in told.gpu.gpus:
        console.print(Text(f"GPU {gpu.name}: {_gpu_words(gpu.load, gpu.memory_used, gpu.memory_total, gpu.power)}"))
    if told.gpu.absent:
        console.print(Text(f"GPU of this machine: {told.gpu.absent}"))
    if not settings.llm_backends:
        console.print("analysis is by rules alone; set IB_LLM_BACKENDS=ollama (or another) to ask a model")


def _memory(name: str, vram: int | None) -> str:
    return name if vram is None else f"{name} ({vram / 2**30:.1f} GiB)"


def _gpu_words(load: float | None, used: int | None, total: int | None, power: float | None) -> str:
    parts = [
        None if load is None else f"{load:.0%} busy",
        None if used is None or total is None else f"{used / 2**30:.1f} of {total / 2**30:.1f} GiB",
        None if power is None else f"{power:.0f} W",
    ]
    return ", ".join(part for part in parts if part) or "nothing told"
