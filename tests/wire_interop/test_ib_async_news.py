"""News as stock ib_async reads it from the gateway."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from ib_async import NewsTick, Stock
from ib_async.wrapper import RequestError

from ..simulation.tws.rig import AAPL_ID, running
from .test_ib_async_interop import connected, eventually

AAPL = Stock("AAPL", "SMART", "USD", conId=AAPL_ID)


async def test_providers_headlines_and_articles() -> None:
    async with running() as gateway, connected(gateway) as ib:
        providers = await ib.reqNewsProvidersAsync()
        codes = "+".join(provider.code for provider in providers)
        assert codes == "PPRW+PPRA"
        end = gateway.now
        rows = await ib.reqHistoricalNewsAsync(AAPL_ID, codes, end - timedelta(days=20), end, 10)
        assert isinstance(rows, list)
        assert len(rows) == 10
        times = [row.time for row in rows]
        assert times == sorted(times, reverse=True)
        assert all("[Simulated]" in row.headline for row in rows)
        older = await ib.reqHistoricalNewsAsync(AAPL_ID, "PPRW", "", rows[3].time.strftime("%Y-%m-%d %H:%M:%S.0"), 300)
        assert isinstance(older, list)
        assert older
        assert max(row.time for row in older) <= rows[3].time
        assert {row.providerCode for row in older} == {"PPRW"}
        article = await ib.reqNewsArticleAsync(rows[0].providerCode, rows[0].articleId)
        assert article.articleType == 0
        assert rows[0].headline.partition("}")[2] in article.articleText


async def test_what_is_not_allowed_or_not_there_is_ibs_own_error() -> None:
    async with running() as gateway, connected(gateway) as ib:
        with pytest.raises(RequestError, match="not allowed") as refused:
            await ib.reqNewsArticleAsync("BRFG", "BRFG$1")
        assert refused.value.code == 10276
        with pytest.raises(RequestError, match="news article") as missing:
            await ib.reqNewsArticleAsync("PPRW", "PPRW$1-20260101-0")
        assert missing.value.code == 10172
    async with running(tws={"news_providers": ()}) as gateway, connected(gateway) as ib:
        assert await ib.reqNewsProvidersAsync() == []


async def test_news_comes_as_it_is_published_on_the_lines_that_asked_for_it() -> None:
    async with running() as gateway, connected(gateway) as ib:
        told: list[NewsTick] = []
        ib.tickNewsEvent += told.append
        ticker = ib.reqMktData(AAPL, "mdoff,292:PPRW")
        await ib.reqCurrentTimeAsync()
        before = gateway.now
        await gateway.advance_to(before + timedelta(days=20))
        rows, _ = gateway.door.news.headlines(AAPL_ID, ("PPRW",), start=before, count=300)
        assert len(rows) > 1
        await eventually(lambda: len(told) == len(rows))
        everything, _ = gateway.door.news.headlines(AAPL_ID, ("PPRW", "PPRA"), start=before, count=300)
        assert len(everything) > len(rows)  # the other provider's were left out
        assert [tick.articleId for tick in told] == [row.article_id for row in rows][::-1]
        assert datetime.fromtimestamp(told[-1].timeStamp / 1000, UTC) == rows[0].time
        assert ticker.bid != ticker.bid  # mdoff: no quotes
        gateway.faults.arm("headline", "AAPL", "", "Extraordinary")
        await eventually(lambda: told[-1].headline.endswith("}Extraordinary"))
        ib.cancelMktData(AAPL)
        await ib.reqCurrentTimeAsync()
        gateway.faults.arm("headline", "AAPL", "", "Unheard")
        await ib.reqCurrentTimeAsync()
        await gateway.advance_to(gateway.now + timedelta(days=6))
        await ib.reqCurrentTimeAsync()
        assert told[-1].headline.endswith("Extraordinary")
