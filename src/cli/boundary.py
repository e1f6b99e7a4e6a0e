"""Where errors end: one clear line and an exit code, or one JSON object."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import sys
from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any, TypeVar

import typer

from ..brokers.errors import BrokerError, ConfigurationError, UsageError

log = logging.getLogger(__name__)
Result = TypeVar("Result")

#: Exit codes of every command.
OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
#: Errors that are the user's to mend before anything can work.
USAGE_ERRORS = (UsageError, ConfigurationError)


def reported(command: Callable[..., int | None]) -> Callable[..., None]:
    """A command whose errors become one line on stderr (a JSON object on stdout under --json) and an exit code."""

    @functools.wraps(command)
    def wrapper(*args: Any, **options: Any) -> None:
        try:
            code = command(*args, **options) or OK
        except BrokerError as error:
            show_error(error, as_json=bool(options.get("json_output")))
            code = USAGE if isinstance(error, USAGE_ERRORS) else FAILED
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            code = INTERRUPTED
        except BrokenPipeError:
            # The reader of our output is gone: nothing more can be said to it.
            sys.stderr.close()
            code = FAILED
        except OSError as error:
            show_error(BrokerError("system", str(error), "look at the disk and the permissions"), as_json=False)
            code = FAILED
        raise typer.Exit(code)

    return wrapper


def show_error(error: BrokerError, *, as_json: bool) -> None:
    """`error` as one line on stderr, or as an object on stdout."""
    if as_json:
        kind = type(error).__name__
        body = {"kind": kind, "what": error.what, "why": error.why, "next": error.next, **error.data}
        print_json({"error": body})
    else:
        print(f"moondev-ibkr: {' '.join(str(error).split())}", file=sys.stderr)


def print_json(content: object) -> None:
    """One JSON document on stdout; Decimals and times as text."""
    json.dump(content, sys.stdout, indent=2, default=_plain)
    sys.stdout.write("\n")
    sys.stdout.flush()


def run_async(main: Coroutine[Any, Any, Result], *, use_uvloop: bool = False) -> Result:
    """Run to the end on a fresh loop; Ctrl-C cancels `main`, which may still tidy up, and raises KeyboardInterrupt."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if use_uvloop:
        try:
            import uvloop

            factory = uvloop.new_event_loop
        except ImportError:
            log.info("uvloop is not installed; the standard event loop is used")
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return str(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return str(value)
