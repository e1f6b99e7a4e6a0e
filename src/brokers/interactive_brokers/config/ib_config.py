"""What the TWS client is told: where the gateway is, and how long each thing may take."""

from __future__ import annotations

from dataclasses import dataclass

from ....config.settings import Settings


@dataclass(frozen=True, slots=True)
class TwsSettings:
    """Seconds are monotonic. The defaults keep the promises: a half-open link is noticed within 10 s when idle
    (`idle_before_probe` + `probe_deadline` + `watch_every`) and within 1 s before an order (faults.md C10, Q14)."""

    host: str = "127.0.0.1"
    port: int = 4002
    client_id: int = 1
    #: From opening the socket to next valid id and account list.
    handshake_deadline: float = 10.0
    #: Each start-up query; one that is not answered in time leaves its section unknown and trading blocked.
    section_deadline: float = 10.0
    #: Between attempts at a section that is not known.
    section_retry: float = 2.0
    request_deadline: float = 10.0
    #: Historical answers may take IB minutes.
    history_deadline: float = 60.0
    idle_before_probe: float = 4.0
    probe_deadline: float = 4.0
    watch_every: float = 1.0
    #: A link that was silent for this long is probed before an order leaves.
    silent_before_order: float = 1.0
    #: How often the broker's clock is asked on a busy link.
    clock_every: float = 30.0
    #: Reconnecting: the first wait, doubled each time up to the longest, each spread by the jitter (0.2 = ±20 %).
    first_wait: float = 0.25
    longest_wait: float = 30.0
    jitter: float = 0.2
    #: Ask for delayed data where live data is not subscribed.
    delayed_data: bool = False
    #: The zone that TWS runs in, for times that it sends without one; "" reads them as UTC.
    naive_zone: str = ""

    @classmethod
    def from_settings(cls, settings: Settings) -> TwsSettings:
        return cls(
            host=settings.host,
            port=settings.tws_port,
            client_id=settings.client_id,
            handshake_deadline=settings.connect_timeout,
            section_deadline=settings.connect_timeout,
            request_deadline=settings.request_timeout,
            history_deadline=max(settings.request_timeout, 60.0),
            delayed_data=settings.delayed_data,
        )
