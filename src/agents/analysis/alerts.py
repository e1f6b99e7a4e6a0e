"""Alerts: what a finding is, where it is told, and that each place hears of it once, over restarts too.

A sink that fails is counted and asked again when the finding is seen again; the others hear of it all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from ...brokers.errors import BrokerError, ConfigurationError, DeadlineExceeded, LinkLost, RequestFailed
from .analysis_store import AnalysisStore

log = logging.getLogger(__name__)

#: Seconds that one sink may take for one alert, its retries included.
SINK_DEADLINE = 20.0


@dataclass(frozen=True, slots=True)
class Alert:
    """A finding at or above the threshold. `day` is the trading day, `leading` the group of evidence that leads it,
    `reasons` our own words; nothing in it was written by strangers. `answered_by` is the rung and the model."""

    symbol: str
    day: date
    time: datetime
    threat: int
    direction: str
    leading: str
    reasons: tuple[str, ...]
    answered_by: str
    degraded: bool

    @property
    def key(self) -> str:
        """Names the finding: a symbol is told once a day for each group of evidence that leads it."""
        return f"{self.day:%Y%m%d}:{self.symbol}:{self.leading}"

    def to_json(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "symbol": self.symbol,
            "day": self.day.isoformat(),
            "time": self.time.isoformat(),
            "threat": self.threat,
            "direction": self.direction,
            "leading": self.leading,
            "reasons": list(self.reasons),
            "answered_by": self.answered_by,
            "degraded": self.degraded,
        }

    @property
    def text(self) -> str:
        return f"{self.symbol} threat {self.threat} ({self.direction}): {'; '.join(self.reasons[:4])}"


class AlertSink(Protocol):
    """Somewhere to tell an alert."""

    @property
    def name(self) -> str:
        """Names it in the record of what was told; holds no secret."""

    async def send(self, alert: Alert) -> None:
        """Tell it. Raises an error of the tree when it was not told."""


class LogSink:
    """The program's log, as a warning."""

    name = "log"

    async def send(self, alert: Alert) -> None:
        log.warning("alert: %s", alert.text, extra={"alert": alert.key})


class FileSink:
    """One JSON object a line, appended to `path`. Raises ConfigurationError when it cannot be written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = f"file {path}"

    async def send(self, alert: Alert) -> None:
        try:
            await asyncio.to_thread(self._append, json.dumps(alert.to_json(), sort_keys=True))
        except OSError as error:
            raise ConfigurationError(self.name, error.strerror or str(error), "see the folder's rights") from None

    def _append(self, line: str) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


class WebhookSink:
    """POST of the JSON object to a URL, which is a secret and shown nowhere. Redirects are not followed. `timeout` is
    seconds for one try; `pauses` are seconds before each further one. Raises ConfigurationError for a URL that is none.
    """

    name = "webhook"

    def __init__(self, url: str, *, timeout: float = 5.0, pauses: Sequence[float] = (0.5, 2.0)) -> None:
        if not url.startswith(("https://", "http://")) or any(letter.isspace() for letter in url):
            raise ConfigurationError("webhook", "its address is no http or https URL", "set IB_SECRETS__ALERT_WEBHOOK")
        self._url, self._timeout, self._pauses = url, timeout, tuple(pauses)

    def __repr__(self) -> str:
        return "WebhookSink(…)"

    async def send(self, alert: Alert) -> None:
        for pause in self._pauses:
            try:
                await self._post(alert)
            except BrokerError as error:
                if isinstance(error, RequestFailed) and not _may_pass(error.code):
                    raise
                await asyncio.sleep(pause)
            else:
                return
        await self._post(alert)

    async def _post(self, alert: Alert) -> None:
        import aiohttp

        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._timeout)) as session,
                session.post(
                    self._url, json=alert.to_json(), headers={"Idempotency-Key": alert.key}, allow_redirects=False
                ) as answer,
            ):
                status = answer.status
        except TimeoutError:
            raise LinkLost("webhook", f"no answer within {self._timeout:g} s", "look at the receiver") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # The text of the error may hold the address.
            raise LinkLost("webhook", f"it cannot be reached: {type(error).__name__}", "check its address") from None
        if not 200 <= status < 300:
            raise RequestFailed("webhook", f"it answered with status {status}", "look at the receiver", code=status)


def _may_pass(status: int | None) -> bool:
    """Whether the same request may succeed later."""
    return status is None or status in (408, 425, 429) or status >= 500


@dataclass(frozen=True, slots=True)
class Told:
    """What became of an alert: sinks that heard of it now, that had before, and that failed with what."""

    alert: Alert
    sent: tuple[str, ...]
    before: tuple[str, ...]
    failed: tuple[tuple[str, str], ...]


@dataclass(eq=False)
class AlertDesk:
    """Tells each alert to each sink once. `failures` counts failed deliveries by sink since it was made."""

    sinks: Sequence[AlertSink]
    store: AnalysisStore
    deadline: float = SINK_DEADLINE
    failures: dict[str, int] = field(default_factory=dict)

    async def tell(self, alert: Alert) -> Told:
        """Tell it to every sink that has not heard of it, all at once. A failing sink raises nothing."""
        outcomes = await asyncio.gather(*(self._one(sink, alert) for sink in self.sinks))
        by_name = list(zip((sink.name for sink in self.sinks), outcomes, strict=True))
        return Told(
            alert,
            tuple(name for name, outcome in by_name if outcome is None),
            tuple(name for name, outcome in by_name if outcome == _BEFORE),
            tuple((name, outcome) for name, outcome in by_name if outcome not in (None, _BEFORE)),
        )

    async def _one(self, sink: AlertSink, alert: Alert) -> str | None:
        """None when told now, `_BEFORE` when told before, else why not."""
        try:
            if not self.store.claim(alert.key, sink.name, alert.to_json()):
                return _BEFORE
        except BrokerError as error:
            return self._failed(sink, error)
        delivered = False
        try:
            async with asyncio.timeout(self.deadline):
                await sink.send(alert)
            delivered = True
            return None
        except TimeoutError:
            return self._failed(sink, DeadlineExceeded("alert", timedelta(seconds=self.deadline)))
        except BrokerError as error:
            return self._failed(sink, error)
        except Exception as error:  # A sink may be anybody's code, and must not stop the others.
            log.exception("alert sink %s failed", sink.name)
            return self._failed(sink, RequestFailed(sink.name, type(error).__name__))
        finally:
            with contextlib.suppress(BrokerError):
                self.store.settle(alert.key, sink.name, delivered=delivered)

    def _failed(self, sink: AlertSink, error: BrokerError) -> str:
        self.failures[sink.name] = self.failures.get(sink.name, 0) + 1
        log.error("alert sink %s: %s", sink.name, error)
        return str(error)


_BEFORE = "\x00told before"
