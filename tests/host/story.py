"""A story told inside a host: a function of the test, run in a fresh interpreter whose root is the host's.

    told = tell(host, story, answer="BUY")      the function's source travels, its result comes back as JSON
    told.result, told.out, told.code

The function imports what it needs itself, takes and returns what JSON can hold, and sees nothing else of the test.
"""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Real seconds for one story.
DEADLINE = 60.0
MARK = "the story ends with "

#: What a person who runs the host has in the environment; none of the keys opens anything.
KEYS = {
    "BIRDEYE_API_KEY": "none",
    "ANTHROPIC_KEY": "none",
    "OPENAI_KEY": "none",
    "GROK_API_KEY": "none",
    "GROQ_API_KEY": "none",
    "ASTER_API_KEY": "none",
    "ASTER_API_SECRET": "none",
    "ENABLE_LANGFUSE": "false",
    "OLLAMA_HOST": "127.0.0.1:1",
}
#: Nothing else of this machine's environment reaches a host.
KEPT = ("PATH", "HOME", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "LANG", "COVERAGE_PROCESS_START", "COVERAGE_FILE")


@dataclass(frozen=True)
class Told:
    """`result` is what the story returned, None when it did not come to its end; `out` and `err` what was printed."""

    code: int
    result: Any
    out: str
    err: str


def environment(host: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a process in the host sees."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {**kept, **KEYS, "PYTHONPATH": str(host), "PYTHONDONTWRITEBYTECODE": "1", **(extra or {})}


def tell(
    host: Path,
    story: Callable[..., Any],
    *,
    python: str = sys.executable,
    env: Mapping[str, str] | None = None,
    preamble: str = "",
    **arguments: Any,
) -> Told:
    """Run `story(**arguments)` in `host`, after the lines `preamble`. A story that raises ends with code 1."""
    source = textwrap.dedent(inspect.getsource(story))
    call = f"{story.__name__}(**json.loads({json.dumps(json.dumps(arguments))}))"
    lines = (
        f"from __future__ import annotations\n{preamble}\n{source}\n"
        f"import json\nprint({MARK!r} + json.dumps({call}), flush=True)\n"
    )
    return run(host, [python, "-c", lines], env=env)


def run(host: Path, command: list[str], *, env: Mapping[str, str] | None = None) -> Told:
    """Run a command with the host's root as its folder."""
    done = subprocess.run(
        command, cwd=host, env=environment(host, env), capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    out, found, result = done.stdout.rpartition(MARK)
    if not found:
        return Told(done.returncode, None, done.stdout, done.stderr)
    text, _, rest = result.partition("\n")
    return Told(done.returncode, json.loads(text), out + rest, done.stderr)
