"""What waits to be sent to one stream: orders in full, quotes only at their latest value for a slow reader.

backlog.put(frame)      in; raises Overflow beyond the limit
backlog.take()          out, oldest first; None when there is nothing
"""

from __future__ import annotations

from collections import deque
from typing import Any

Frame = dict[str, Any]

#: Waiting frames above which quotes of the same topic become one.
CONFLATE_ABOVE = 256
#: Waiting frames above which a stream is given up.
LIMIT = 50_000


class Overflow(RuntimeError):
    """The client has not read for so long that what it must not miss no longer fits."""


class Backlog:
    def __init__(self, *, conflate_above: int = CONFLATE_ABOVE, limit: int = LIMIT) -> None:
        self._conflate_above = conflate_above
        self._limit = limit
        self._frames: deque[Frame] = deque()
        #: The last frame of each quote topic that still waits.
        self._latest: dict[str, Frame] = {}
        self.conflated = 0

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def is_slow(self) -> bool:
        """Whether so much waits that quotes are conflated."""
        return len(self._frames) >= self._conflate_above

    def put(self, frame: Frame) -> None:
        topic = str(frame.get("topic", ""))
        if topic.startswith(("smd+", "sbd+")):
            older = self._latest.get(topic)
            if older is not None and self.is_slow:
                # An smd frame holds only what changed; a ladder is whole.
                if topic.startswith("sbd+"):
                    older.clear()
                older.update(frame)
                self.conflated += 1
                return
            frame = self._latest[topic] = dict(frame)
        if len(self._frames) >= self._limit:
            raise Overflow(f"{len(self._frames)} frames wait for a client that does not read")
        self._frames.append(frame)

    def take(self) -> Frame | None:
        if not self._frames:
            return None
        frame = self._frames.popleft()
        topic = frame.get("topic", "")
        if self._latest.get(topic) is frame:
            del self._latest[topic]
        return frame
