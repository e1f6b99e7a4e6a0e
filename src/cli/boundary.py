"""Where errors end: one clear line and an exit code, or one JSON object."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import sys
from collections.abc import Callable, Coroutine
from decimal import Decimal
from enum import Enum
from typing import Any, TypeVar

import typer

from ..brokers.errors import BrokerError, ConfigurationError, UsageError
from ..brokers.event_loop import new_event_loop, quiet_collector
from ..config.profiles import Profile

Result = TypeVar("Result")

#: Exit codes of every command.
OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
#: Errors that are the user's to mend before anything can work.
USAGE_ERRORS = (UsageError, ConfigurationError)


def reported(command: Callable[..., int | None]) -> Callable[..., None]:
    """A command whose errors become one line on stderr (a JSON object on stdout under --json) and an exit code."""

    @functools.wraps(command)
    def wrapper(*args: Any, **options: Any) -> None:
        as_json = bool(options.get("json_output"))
        try:
            code = command(*args, **options) or OK
            sys.stdout.flush()
        except BrokerError as error:
            show_error(error, as_json=as_json)
            code = exit_code(error)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            code = INTERRUPTED
        except BrokenPipeError:
            drop_stdout()
            code = FAILED
        except OSError as error:
            show_error(_system(error), as_json=as_json)
            code = FAILED
        raise typer.Exit(code)

    return wrapper


def exit_code(error: BrokerError) -> int:
    """2 for what the user has to mend first, 1 for what failed."""
    return USAGE if isinstance(error, USAGE_ERRORS) else FAILED


def show_error(error: BrokerError, *, as_json: bool) -> None:
    """`error` as one line on stderr, or as an object on stdout."""
    if as_json:
        print_json({"error": error_json(error)})
    else:
        print(f"moondev-ibkr: {' '.join(str(error).split())}", file=sys.stderr)


def error_json(error: BrokerError) -> dict[str, Any]:
    return {**error.data, "kind": type(error).__name__, "what": error.what, "why": error.why, "next": error.next}


def print_json(content: object) -> None:
    """One JSON document on stdout; Decimals and times as text."""
    json.dump(content, sys.stdout, indent=2, default=_plain)
    sys.stdout.write("\n")
    sys.stdout.flush()


def drop_stdout() -> None:
    """The reader of our output is gone: what is still buffered has nowhere to go, and must not raise at the end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def run_async(main: Coroutine[Any, Any, Result], profile: Profile | None = None) -> Result:
    """Run to the end on a fresh loop, with the profile's garbage collection; Ctrl-C cancels `main`, which may still
    tidy up, and raises KeyboardInterrupt."""
    if profile is not None:
        quiet_collector(profile)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main)


def _system(error: OSError) -> BrokerError:
    what = f"file {error.filename}" if error.filename else "the system"
    return BrokerError(what, error.strerror or str(error), "look at the disk and the permissions")


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return str(value)
