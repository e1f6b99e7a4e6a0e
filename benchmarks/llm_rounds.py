"""From a list of tickers to a score of each: the market's questions and the models' together, over the paper gateway.

The other side goes as a host's agents do: one ticker after another, each with its questions to the market through raw
ib_async and then one to the large model. Ours asks the market for all at once, the small model for all, the large one
for TOP of them, AHEAD questions under way at SLOTS slots. Both ask for the same evidence: contract, quote, 299 days of
bars, 40 of implied volatility, the options' line, two reports and the headlines. The gateway takes IB's 50 messages a
second and answers for bars after LATENCY; a model takes its seconds, which is short for one: longer ones favour ours.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import ollama
from ib_async import IB, Stock
from moondev_ibkr.agents.analysis.collecting import EvidenceCollector
from moondev_ibkr.agents.analysis.news_evidence import NewsReader
from moondev_ibkr.agents.analysis.screening import RUBRIC, Models, Screening, ScreeningSettings, analysis_rules
from moondev_ibkr.agents.llm.asking import Ledger, Target
from moondev_ibkr.agents.llm.assessment import Assessment
from moondev_ibkr.agents.llm.call_log import CallLog
from moondev_ibkr.agents.llm.ladder import Ladder
from moondev_ibkr.agents.llm.ollama_client import OllamaClient
from moondev_ibkr.agents.llm.pool import Pool
from moondev_ibkr.agents.llm.prices import load_prices
from moondev_ibkr.agents.llm.prompts import system_prompt, user_prompt
from moondev_ibkr.agents.llm.quarantine import Quarantine
from moondev_ibkr.agents.llm.request import Evidence, Request, Rung
from moondev_ibkr.brokers.interactive_brokers.ib_adapter import IBAdapter
from moondev_ibkr.brokers.simulation.tws.pacing import MESSAGES_PER_SECOND

from .llm_models import AHEAD, LARGE, SLOTS, SMALL, TOP, llm_server
from .market import symbol_names
from .options import Options
from .rows import Row, faster
from .servers import GatewayServer
from .sides import our_side, raw_side
from .statistics import median

TICKERS, LATENCY, PRINTS = 30, 0.4, 24
ROUND_TRIP = 5.0
ACTIVITY = "100,101,104,105,106"
#: Rows of evidence in the other side's question: as many as ours has.
EVIDENCE = 60


async def rows(options: Options) -> list[Row]:
    names = symbol_names(options.amount(TICKERS, 3))
    shrink = 0.04 if options.quick else 1.0
    seconds = {name: taken * shrink for name, taken in (LARGE, SMALL)}
    server = GatewayServer(
        symbols=len(names),
        prints=PRINTS,
        history_seconds=LATENCY * shrink,
        message_rate=MESSAGES_PER_SECOND,
        quick=options.quick,
    )
    raw: list[float] = []
    ours: list[float] = []
    async with server, llm_server(seconds) as url:
        # the gateway makes its bars before anything is timed
        async with our_side(server) as adapter:
            await EvidenceCollector(adapter).collect(names)
        for _ in range(1 if options.quick else min(options.rounds, 2)):
            await server.idle()
            raw.append(60 * len(names) / await _raw(server, url, names))
            await server.idle()
            ours.append(60 * len(names) / await _ours(server, url, names))
    name = f"evidence and score of {len(names)} tickers: batched, {SLOTS} slots, two stages, against one by one"
    each = {"s/ticker": 60 / median(ours), "s/ticker raw": 60 / median(raw)}
    return [faster("llm", name, "tickers/min", raw, ours, **each)]


async def _raw(server: GatewayServer, url: str, names: list[str]) -> float:
    """Seconds for all of them."""
    model = ollama.AsyncClient(host=url, timeout=60)
    try:
        async with raw_side(server) as ib:
            started = time.perf_counter()
            for name in names:
                await _look(ib, name)
                await _ask(model, name)
            return time.perf_counter() - started
    finally:
        await model._client.aclose()


async def _look(ib: IB, name: str) -> None:
    (contract,) = await ib.qualifyContractsAsync(Stock(name, "SMART", "USD"))
    assert isinstance(contract, Stock)
    await ib.reqTickersAsync(contract)
    for span, show in (("299 D", "ADJUSTED_LAST"), ("40 D", "OPTION_IMPLIED_VOLATILITY")):
        await ib.reqHistoricalDataAsync(contract, "", span, "1 day", show, True)
    line = ib.reqMktData(contract, ACTIVITY)
    async with asyncio.timeout(ROUND_TRIP):
        while not (line.callVolume >= 0 and line.impliedVolatility > 0):
            await line.updateEvent
    ib.cancelMktData(contract)
    for report in ("ReportSnapshot", "ReportsFinSummary"):
        await ib.reqFundamentalDataAsync(contract, report)
    since = datetime.now(UTC) - timedelta(days=3)
    await ib.reqHistoricalNewsAsync(contract.conId, "PPRW+PPRA", since, "", 20)


async def _ask(model: ollama.AsyncClient, name: str) -> None:
    evidence = tuple(
        Evidence(f"e{place}", f"measure {place} is {place * 1.25:.2f}, its median {place}") for place in range(EVIDENCE)
    )
    request = Request(system=RUBRIC, subject=name, evidence=evidence, schema=Assessment)
    answer = await model.chat(
        model=LARGE[0],
        messages=[
            {"role": "system", "content": system_prompt(request)},
            {"role": "user", "content": user_prompt(request)},
        ],
        format=Assessment.model_json_schema(),
        options={"temperature": 0, "num_ctx": 16_384, "num_predict": 700},
        keep_alive="30m",
    )
    Assessment.model_validate_json(answer.message.content or "")


async def _ours(server: GatewayServer, url: str, names: list[str]) -> float:
    """Seconds for all of them, from an adapter that knows no contract yet and a log that knows no answer."""
    with TemporaryDirectory() as folder:
        pool = Pool([OllamaClient(url)], slots=AHEAD)
        ledger = Ledger(CallLog(Path(folder) / "llm.sqlite3", redact=str, daily_cap=Decimal(1)), load_prices())
        try:
            async with our_side(server) as adapter:
                started = time.perf_counter()
                await _screen(adapter, pool, ledger, names)
                return time.perf_counter() - started
        finally:
            await pool.aclose()
            ledger.close()


async def _screen(adapter: IBAdapter, pool: Pool, ledger: Ledger, names: list[str]) -> None:
    rules = analysis_rules()
    small, large = (Ladder([Target(pool, model, ledger)], rules) for model, _ in (SMALL, LARGE))
    top = max(1, round(len(names) * TOP))
    screening = Screening(
        EvidenceCollector(adapter, read_news=NewsReader(Quarantine())),
        Models(small, large),
        ScreeningSettings(top=top, in_flight=AHEAD),
    )
    found = await screening.run(names)
    asked = [row for row in found if row.small is not None and row.small.rung == Rung.ASKED and not row.small.cached]
    again = [row for row in found if row.large is not None and row.large.rung == Rung.ASKED]
    if len(asked) != len(names) or len(again) != top:
        raise RuntimeError(f"{len(asked)} of {len(names)} were answered by the small model, {len(again)} by the large")
