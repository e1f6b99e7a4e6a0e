"""A model server of scripted latency in a process of its own, with the routes of Ollama that the clients ask.

    python -m benchmarks.llm_server '{"slots": 5, "seconds": {"small:8b": 0.1, "large:70b": 0.5}}'

It computes `slots` answers at a time and lets the rest wait, as a model server does; each takes its model's seconds.
The first line on standard output is the port; the end of standard input ends it.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from typing import Any

from aiohttp import web

_IDS = re.compile(r"^([A-Za-z0-9_.:-]+) \|", re.MULTILINE)


def answer(prompt: str) -> str:
    """A valid assessment, which cites the first evidence that it was asked about."""
    cited = _IDS.findall(prompt)[:2]
    return json.dumps(
        {
            "reasoning": "volume and volatility are above their own history, without news",
            "factors": [{"name": "volume", "effect": "raises", "evidence_ids": cited[:1]}],
            "score": 55,
            "confidence": 0.5,
            "direction": "unclear",
            "evidence_ids": cited,
        }
    )


class LlmServer:
    """`seconds` is how long an answer of each model takes."""

    def __init__(self, slots: int, seconds: dict[str, float]) -> None:
        self._slots = asyncio.Semaphore(slots)
        self._seconds = seconds

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/api/chat", self._chat)
        app.router.add_get("/api/tags", self._tags)
        app.router.add_get("/api/ps", self._ps)
        return app

    async def _chat(self, request: web.Request) -> web.Response:
        asked = await request.json()
        seconds = self._seconds[asked["model"]]
        async with self._slots:
            await asyncio.sleep(seconds)
        return web.json_response(
            {
                "model": asked["model"],
                "created_at": "2026-11-28T15:00:00Z",
                "message": {"role": "assistant", "content": answer(asked["messages"][-1]["content"])},
                "done": True,
                "done_reason": "stop",
                "total_duration": int(seconds * 1e9),
                "eval_duration": int(seconds * 8e8),
                "prompt_eval_count": 1400,
                "eval_count": 90,
            }
        )

    async def _tags(self, request: web.Request) -> web.Response:
        return web.json_response({"models": self._rows()})

    async def _ps(self, request: web.Request) -> web.Response:
        return web.json_response({"models": self._rows()})

    def _rows(self) -> list[dict[str, Any]]:
        return [{"name": name, "model": name, "digest": f"sha256:{name}", "size": 1} for name in self._seconds]


async def main(settings: dict[str, Any]) -> None:
    runner = web.AppRunner(LlmServer(settings["slots"], settings["seconds"]).app(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
