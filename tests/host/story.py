"""A story told inside a host: a function of the test, run in a fresh interpreter whose root is the host's.

    told = tell(host, story, answer="BUY")      the function's source travels, its result comes back as JSON
    told.result, told.out, told.code

The function imports what it needs itself, takes and returns what JSON can hold, and sees nothing else of the test but
`pause(name)`: it waits while the test does what `meanwhile` has under that name.
"""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Real seconds for one story.
DEADLINE = 60.0
MARK = "the story ends with "
PAUSE = "the story waits for "

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


#: A story and its arguments.
Act = tuple[Callable[..., Any], Mapping[str, Any]]


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


#: What every story sees before its own first line.
PROLOGUE = f"""from __future__ import annotations
import json
def pause(name: str) -> None:
    print({PAUSE!r} + name, flush=True)
    input()
"""


def tell(
    host: Path,
    story: Callable[..., Any],
    *,
    python: str = sys.executable,
    env: Mapping[str, str] | None = None,
    preamble: str = "",
    meanwhile: Mapping[str, Callable[[], object]] | None = None,
    **arguments: Any,
) -> Told:
    """Run `story(**arguments)` in `host`, after the lines `preamble`. A story that raises ends with code 1."""
    told = tell_all(host, [(story, arguments)], python=python, env=env, preamble=preamble, meanwhile=meanwhile)
    return Told(told.code, None if told.result is None else told.result[0], told.out, told.err)


def tell_all(
    host: Path,
    acts: Sequence[Act],
    *,
    python: str = sys.executable,
    env: Mapping[str, str] | None = None,
    preamble: str = "",
    meanwhile: Mapping[str, Callable[[], object]] | None = None,
) -> Told:
    """Several stories in one interpreter, one after the other; the result is the list of theirs."""
    lines = [PROLOGUE, preamble, "answers = []"]
    for story, arguments in acts:
        lines.append(textwrap.dedent(inspect.getsource(story)))
        lines.append(f"answers.append({story.__name__}(**json.loads({json.dumps(arguments)!r})))")
    lines.append(f"print({MARK!r} + json.dumps(answers), flush=True)")
    return run(host, [python, "-c", "\n".join(lines)], env=env, meanwhile=meanwhile)


def run(
    host: Path,
    command: list[str],
    *,
    env: Mapping[str, str] | None = None,
    meanwhile: Mapping[str, Callable[[], object]] | None = None,
) -> Told:
    """Run a command with the host's root as its folder."""
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command,
            cwd=host,
            env=environment(host, env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        overdue = threading.Timer(DEADLINE, process.kill)
        overdue.start()
        try:
            out = "".join(_printed(process, meanwhile or {}))
            code = process.wait()
        finally:
            overdue.cancel()
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                pipe.close()
        errors.seek(0)
        err = errors.read()
    before, found, result = out.rpartition(MARK)
    if not found:
        return Told(code, None, out, err)
    text, _, rest = result.partition("\n")
    return Told(code, json.loads(text), before + rest, err)


def _printed(process: subprocess.Popen[str], meanwhile: Mapping[str, Callable[[], object]]) -> Iterator[str]:
    """The lines that it prints; a pause is answered and left out."""
    assert process.stdin is not None
    assert process.stdout is not None
    for line in process.stdout:
        if not line.startswith(PAUSE):
            yield line
            continue
        meanwhile[line.removeprefix(PAUSE).strip()]()
        process.stdin.write("\n")
        process.stdin.flush()
