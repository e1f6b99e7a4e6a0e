"""The command line: thin commands over the package, and the only place that composes it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from ..brokers.errors import UsageError
from .boundary import FAILED, INTERRUPTED, USAGE, drop_stdout, show_error
from .commands import LazyCommands

app = typer.Typer(
    name="moondev-ibkr",
    cls=LazyCommands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="AI trading agents on Interactive Brokers, and a paper gateway that needs no account.",
)

# Typer carries click inside itself or depends on it, by version; either way these are click's classes.
_MISUSE: type[Exception] = typer.BadParameter.__bases__[0]
_CLICK_ERROR: type[Exception] = _MISUSE.__bases__[0]


@app.callback()
def _root() -> None:
    """AI trading agents on Interactive Brokers, and a paper gateway that needs no account."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the `moondev-ibkr` script. Always raises SystemExit with the command's exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = app(given, prog_name="moondev-ibkr", standalone_mode=False)
        sys.stdout.flush()
    except _CLICK_ERROR as misuse:
        code = _misused(misuse, given)
    except typer.Abort:
        print("aborted, nothing was done", file=sys.stderr)
        code = FAILED
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = INTERRUPTED
    except BrokenPipeError:
        drop_stdout()
        code = FAILED
    sys.exit(code or 0)


def _misused(misuse: Exception, given: Sequence[str]) -> int:
    """A command line that cannot be read, as one line; help alone was asked for by giving nothing."""
    if not given:
        print(misuse, file=sys.stderr)
        return USAGE
    context = getattr(misuse, "ctx", None)
    path = context.command_path if context is not None else "moondev-ibkr"
    text = getattr(misuse, "format_message", lambda: str(misuse))()
    error = UsageError(path.removeprefix("moondev-ibkr").strip() or "command line", text, f"{path} --help")
    show_error(error, as_json="--json" in given)
    return USAGE
