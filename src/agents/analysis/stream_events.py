"""Stream events for agents, on one screen: what can be asked, what comes, and the table of parameters."""

from __future__ import annotations

from .stream.agent_feed import AgentEvent, AgentFeed
from .stream.delivery import StreamEvents, stream_to_agents
from .stream.detectors import DETECTORS, DetectorRow
from .stream.events import EventsLost, StreamEvent, StreamEventKind

__all__ = [
    "DETECTORS",
    "AgentEvent",
    "AgentFeed",
    "DetectorRow",
    "EventsLost",
    "StreamEvent",
    "StreamEventKind",
    "StreamEvents",
    "stream_to_agents",
]
