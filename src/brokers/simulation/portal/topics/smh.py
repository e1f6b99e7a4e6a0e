"""smh: one chart over the WebSocket. It is sent once, and counts until `umh` names its server id.

Source: client-portal.md section 3. `format` is accepted as IB accepts it: every bar has all its keys whatever it says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..charts import ChartQuery, Charts, read_source
from ..conids import known
from ..periods import bar_of, read_period
from ..request import PortalRefusal
from ..routes import Topic

if TYPE_CHECKING:
    from ..stream import Stream

MOST_CHARTS = 5


def subscribe(stream: Stream, words: Sequence[str], arguments: dict[str, Any]) -> None:
    """Raises PortalRefusal: no such contract, no bars, five charts open."""
    text = words[0] if words else ""
    details = known(stream.session, text)
    exchange = str(arguments.get("exchange") or "")
    if exchange and exchange not in details.valid_exchanges:
        raise PortalRefusal(f"No contract found for conid {text}@{exchange}", 500)
    charts = [key for key in stream.keys if key.startswith("smh+")]
    if len(charts) >= MOST_CHARTS:
        raise PortalRefusal("Too many history charts requests, please try again later.", 429)
    period = read_period(str(arguments.get("period") or ""))
    query = ChartQuery(
        details,
        period,
        bar_of(str(arguments.get("bar") or ""), period),
        read_source(str(arguments.get("source") or "")),
        outside=bool(arguments.get("outsideRth")),
    )
    chart = stream.session.brokerage(Charts).draw(query)
    stream.keep(f"smh+{chart['serverId']}", lambda: None)
    stream.send({"topic": f"smh+{text}"} | chart)


def unsubscribe(stream: Stream, words: Sequence[str], arguments: dict[str, Any]) -> None:
    """Raises PortalRefusal when no chart of this stream has the server id."""
    server_id = words[0] if words else ""
    if not stream.drop(f"smh+{server_id}"):
        raise PortalRefusal(f"No chart has the server id {server_id}")
    stream.send({"message": f"Unsubscribed {server_id}"})


TOPICS: tuple[Topic, ...] = (
    Topic("smh", "umh", subscribe, unsubscribe, needs_brokerage=True, about="one chart of bars"),
)
