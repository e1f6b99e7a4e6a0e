"""The trace of an episode: its last lines for people, and a digest of every line to prove that a seed replays."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from typing import Any

KEPT = 400


class Trace:
    """`now` is the loop's time. Call it with the parts of a line; bytes enter the digest in full, lines in short."""

    def __init__(self, now: Callable[[], float], kept: int = KEPT) -> None:
        self._now = now
        self._digest = hashlib.blake2b(digest_size=16)
        self._lines: deque[tuple[float, tuple[Any, ...]]] = deque(maxlen=kept)
        self.count = 0

    def __call__(self, *parts: Any) -> None:
        now = self._now()
        self.count += 1
        # written out now: what the parts mean may change later
        line = " ".join(part.hex() if isinstance(part, bytes) else str(part) for part in parts)
        self._digest.update(f"{now!r} {line}\n".encode())
        self._lines.append((now, tuple(part if isinstance(part, bytes) else str(part) for part in parts)))

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()

    def tail(self, count: int) -> list[str]:
        return [f"{now:10.4f} {' '.join(map(_shown, parts))}" for now, parts in list(self._lines)[-count:]]


def _shown(part: Any) -> str:
    if isinstance(part, bytes):
        return part[4:].replace(b"\0", b",").decode(errors="replace")[:150]
    return str(part)
