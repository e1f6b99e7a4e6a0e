"""The words of the portal's WebSocket: one table, assembled from the modules of this folder."""

from __future__ import annotations

from ..routes import Topic

TOPICS: tuple[Topic, ...] = ()
