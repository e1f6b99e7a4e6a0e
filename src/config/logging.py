"""Logging set-up: plain or JSON lines, and a filter that keeps secrets out of every record (row R3)."""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, TextIO

from .settings import Settings, environment_secrets

#: The logger that all of this package's loggers hang under.
ROOT = __name__.partition(".")[0]
MASK = "***"
#: A shorter value is not masked by value: it would blot out ordinary words.
LEAST_SECRET = 6

_QUOTED = r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s,;&"'}\])]+)"""
_NAMES = (
    r"[\w-]*(?:password|passwd|passphrase|secret|api[_-]?key|apikey|access[_-]?key|private[_-]?key|token|authorization"
    r"|cookie|session[_-]?id|credential|signature)[\w-]*"
)
#: What a secret looks like when its value is not known beforehand; group 1 stays, the rest is masked.
PATTERNS: tuple[re.Pattern[str], ...] = (
    re.compile(r"(\b(?:Bearer|Basic|OAuth)\s+)[A-Za-z0-9+/=._~-]{8,}", re.IGNORECASE),
    re.compile(rf"""(["']?\b{_NAMES}["']?\s*[=:]\s*(?:(?:Bearer|Basic|OAuth)\s+)?){_QUOTED}""", re.IGNORECASE),
    re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s/@]+(?=@)", re.IGNORECASE),
    re.compile(r"(-----BEGIN [A-Z ]*PRIVATE KEY-----)[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)"),
    re.compile(r"(\b)(?:sk-ant-|sk-|ghp_|xox[abp]-)[A-Za-z0-9_-]{8,}"),
)
#: Account ids: U, DU, F, DF, I, DI and digits.
ACCOUNT = re.compile(r"\b(D?[UFI])(\d{2,})(\d{3})\b")


class Redactor:
    """Takes secrets out of text: known values wherever they stand, and whatever looks like one."""

    def __init__(self, secrets: Iterable[str] = (), *, mask_accounts: bool = False) -> None:
        known = sorted({text for text in secrets if len(text) >= LEAST_SECRET}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None
        self._mask_accounts = mask_accounts

    def __call__(self, text: str) -> str:
        if self._known is not None:
            text = self._known.sub(MASK, text)
        for pattern in PATTERNS:
            text = pattern.sub(rf"\g<1>{MASK}", text)
        if self._mask_accounts:
            text = ACCOUNT.sub(rf"\g<1>{MASK}\g<3>", text)
        return text


class RedactingFilter(logging.Filter):
    """Renders the record's message, arguments and traceback, and redacts all of it, before any handler sees it."""

    def __init__(self, redact: Redactor) -> None:
        super().__init__()
        self.redact = redact

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError, IndexError):
            # The line's own mistake; raised here, it would stop the program that logs.
            message = f"{record.msg} (arguments that do not fit: {record.args!r})"
        record.msg = self.redact(message)
        record.args = None
        if record.exc_info and record.exc_info[0] is not None:
            record.exc_text = "".join(traceback.format_exception(*record.exc_info)).rstrip()
            record.exc_info = None
        if record.exc_text:
            record.exc_text = self.redact(record.exc_text)
        if record.stack_info:
            record.stack_info = self.redact(record.stack_info)
        for name, value in _extras(record):
            setattr(record, name, self._cleaned(value))
        return True

    def _cleaned(self, value: Any) -> Any:
        return value if isinstance(value, bool | int | float) or value is None else self.redact(str(value))


_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def _extras(record: logging.LogRecord) -> list[tuple[str, Any]]:
    """What the caller passed as `extra`."""
    return [(name, value) for name, value in vars(record).items() if name not in _STANDARD]


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message, the caller's extras, and a traceback if any."""

    def format(self, record: logging.LogRecord) -> str:
        row: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **dict(_extras(record)),
        }
        if record.exc_info:
            row["error"] = self.formatException(record.exc_info)
        elif record.exc_text:
            row["error"] = record.exc_text
        return json.dumps(row, ensure_ascii=False, default=str)


class PlainFormatter(logging.Formatter):
    """One line for people; times in UTC."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        # Text from outside may hold line ends, and must not forge a line of ours.
        return super().formatMessage(record).replace("\r", "\\r").replace("\n", "\\n")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        return datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{record.msecs:03.0f}Z"


#: Libraries whose records pass through the same handler, so that theirs are redacted too.
LIBRARIES: Sequence[str] = ("ib_async", "aiohttp", "urllib3", "websocket", "eventkit")


def setup_logging(settings: Settings, stream: TextIO | None = None) -> logging.Handler:
    """Send the package's records, and those of the libraries it drives, to `stream` (standard error).

    For programs that own their process, such as the command line: a host keeps its own logging. Replaces a handler set
    up before; the process's root logger is left alone. Returns the handler.
    """
    handler = logging.StreamHandler(stream if stream is not None else sys.stderr)
    handler.setFormatter(JsonFormatter() if settings.log_format == "json" else PlainFormatter())
    secrets = [secret.get_secret_value() for secret in settings.secrets.values()]
    redact = Redactor([*secrets, *environment_secrets()], mask_accounts=settings.log_mask_accounts)
    handler.addFilter(RedactingFilter(redact))
    handler.set_name(f"{ROOT}-handler")
    for name in (ROOT, *LIBRARIES):
        logger = logging.getLogger(name)
        for old in [row for row in logger.handlers if row.get_name() == handler.get_name()]:
            logger.removeHandler(old)
        logger.addHandler(handler)
        logger.propagate = False
    logging.getLogger(ROOT).setLevel(settings.log_level)
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(settings.log_level)))
    return handler
