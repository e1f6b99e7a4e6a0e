"""The models of the benchmarks: a server of scripted latency in a process of its own, and who is asked of it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

#: Answers that the server computes at once, and questions that our pool has under way.
SLOTS, AHEAD = 5, 15
#: Name and seconds an answer.
LARGE, SMALL = ("large:70b", 0.5), ("small:8b", 0.1)
#: The share of tickers that the large model sees after the small one.
TOP = 0.2


@asynccontextmanager
async def llm_server(seconds: dict[str, float]) -> AsyncIterator[str]:
    """The address of a model server with SLOTS slots, whose models take so many seconds."""
    settings = json.dumps({"slots": SLOTS, "seconds": seconds})
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "benchmarks.llm_server",
        settings,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        port = int(await asyncio.wait_for(process.stdout.readline(), 30))
        yield f"http://127.0.0.1:{port}"
    finally:
        process.stdin.close()
        await process.wait()
