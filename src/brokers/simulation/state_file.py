"""The paper account on disk, between two lives of a gateway."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError
from .gateway_settings import GatewaySettings
from .prices import Others

VERSION = 1


@dataclass(frozen=True, slots=True)
class KeptAccount:
    """`market_time` at which it was kept; `exchange` as `Exchange.restore` takes it."""

    market_time: datetime
    exchange: dict[str, Any]

    def held_contracts(self) -> set[int]:
        """Contract numbers of what the accounts hold."""
        return {int(number) for account in self.exchange["accounts"] for number in account["holdings"]}


class AccountFile:
    """One JSON file, replaced as a whole. An account goes on only over the prices with which it began."""

    def __init__(self, settings: GatewaySettings) -> None:
        if settings.state_file is None:
            raise ConfigurationError("the paper account", "no state file is given", "name one with --state")
        self._path = settings.state_file
        self._market = _fingerprint(settings)

    def forget(self) -> None:
        self._path.unlink(missing_ok=True)

    def read(self) -> KeptAccount | None:
        """None when there is none yet. Raises ConfigurationError for a file that cannot be read, or of other prices."""
        try:
            content = json.loads(self._path.read_text())
            if content["version"] != VERSION:
                raise ValueError(f"version {content['version']} where {VERSION} is understood")
            kept = KeptAccount(datetime.fromisoformat(content["market_time"]), dict(content["exchange"]))
            market = content["market"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(
                f"paper account {self._path}", f"it cannot be read: {error}", "use --fresh"
            ) from None
        if market != self._market:
            raise ConfigurationError(
                f"paper account {self._path}",
                "it was traded on other prices",
                "give the same --bars, --symbols, --seed and prices again, or start a new account with --fresh",
            )
        return kept

    def write(self, market_time: datetime, exchange: dict[str, Any]) -> None:
        content = {
            "version": VERSION,
            "market": self._market,
            "market_time": market_time.isoformat(),
            "exchange": exchange,
        }
        part = self._path.with_name(self._path.name + ".part")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(content))
            os.replace(part, self._path)
        except OSError as error:
            raise ConfigurationError(f"paper account {self._path}", str(error), "look at the disk") from None


def is_untouched(path: Path) -> bool:
    """Whether the account kept in `path` holds nothing and never traded, or there is none at all."""
    try:
        exchange = json.loads(path.read_text())["exchange"]
        return not (
            exchange["orders"] or exchange["executions"] or any(row["holdings"] for row in exchange["accounts"])
        )
    except FileNotFoundError:
        return True
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _fingerprint(settings: GatewaySettings) -> str:
    """Names the prices: other prices would make nonsense of the account's positions."""
    mixed = settings.others == Others.SYNTHETIC
    chosen: tuple[object, ...] = (
        str(settings.price_kind or ""),
        settings.clock == "wall",
        sorted(str(path.resolve()) for path in settings.bars),
        # A symbol's synthetic prices are the same whatever else is listed: more symbols do not change the market.
        [] if mixed else sorted(settings.symbols),
        settings.exchange.seed,
    )
    if mixed:
        chosen = (*chosen, str(settings.others))
    return hashlib.sha256(repr(chosen).encode()).hexdigest()[:16]
