"""Memory over an hour's ticks.

Each side runs in a process of its own (`python -m benchmarks.memory`), with 100 lines and the subscribers of the tick
benchmark. After a warm-up, as many messages as an hour brings at 1000 a second are poured in reads of 100 messages; the
growth of the resident set, garbage collected, is the figure.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from .market import symbol_names
from .options import Options
from .rows import Row
from .servers import GatewayServer
from .sides import OUR_CLIENT, our_side, raw_side
from .ticks import Finish, Flood, all_quoted, open_raw, our_transport, stream_subscriber

RATE, SECONDS = 1_000, 3_600
BURST, POUR = 100, 200_000


def resident_bytes() -> int:
    """The resident set of this process; its peak where the platform tells nothing else."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


async def measure(side: str, symbols: int, messages: int) -> dict[str, float]:
    names, pour = symbol_names(symbols), min(messages, POUR)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(GatewayServer(symbols=symbols))
        if side == "raw":
            flood = await open_raw(server, await stack.enter_async_context(raw_side(server)), names)
        else:
            adapter = await stack.enter_async_context(our_side(server))
            await all_quoted(adapter, names)
            finish = Finish()
            reader = asyncio.create_task(stream_subscriber(adapter, names, finish, {}))
            stack.callback(reader.cancel)
            flood = Flood(server, OUR_CLIENT, our_transport(adapter), finish)
        await flood.render(pour, symbols)
        await flood.rate(BURST, pour)
        gc.collect()
        before = resident_bytes()
        for _ in range(messages // pour):
            await flood.rate(BURST, pour)
        gc.collect()
        return {"before": before, "after": resident_bytes()}


async def run(options: Options) -> list[Row]:
    symbols, messages = options.amount(100, 4), options.amount(RATE * SECONDS, 2_000)
    megabytes: dict[str, float] = {}
    resident: dict[str, float] = {}
    for side in ("raw", "ours"):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.memory", side, str(symbols), str(messages)),
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
        if process.returncode:
            raise RuntimeError(f"the {side} side ended with {process.returncode}; its error output is above")
        answer = json.loads(output)
        megabytes[side] = (answer["after"] - answer["before"]) / 1e6
        resident[side] = answer["after"] / 1e6
    return [
        Row(
            "memory",
            f"growth over {messages} ticks (an hour at {RATE}/s)"
            if not options.quick
            else f"growth over {messages} ticks",
            "MB",
            megabytes["ours"],
            megabytes["raw"],
            extra={"raw_resident_mb": resident["raw"], "our_resident_mb": resident["ours"]},
        )
    ]


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))))
