"""What the clients of both doors are told: where the gateway is, and how long each thing may take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ....config.settings import Settings, TickDecoder
from ...errors import ConfigurationError


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
    tick_decoder: TickDecoder = TickDecoder.AUTO

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
            tick_decoder=settings.tick_decoder,
        )


#: Questions that bar the way to a wrong price, size or value: never answered with yes, whatever the settings say.
CAPS = frozenset({"o163", "o382", "o383", "o451", "o10138"})
#: Questions that say how an order type works and nothing of this order: market orders (o10151), stop orders (o10152,
#: o10331), and the cap that IB may put on a price (o10153).
CONFIRMED = frozenset({"o10151", "o10152", "o10153", "o10331"})


@dataclass(frozen=True, slots=True)
class PortalSettings:
    """Seconds are monotonic. `url` is "https://host:port". `oauth_dir` holds an OAuth consumer's keys (docs/oauth.md);
    None relies on the gateway's browser login.

    `confirm` are the message ids of broker questions that are answered with yes; CAPS may not be among them. `compete`
    takes the brokerage session from another program of the same user name. `pace_file` remembers what was asked a
    moment ago, for the next process; None forgets.
    """

    url: str = "https://127.0.0.1:5000"
    ca_file: Path | None = None
    fingerprint: str | None = None
    verify: bool = True
    oauth_dir: Path | None = None
    pace_file: Path | None = None
    client_id: int = 1
    compete: bool = False
    confirm: frozenset[str] = CONFIRMED
    connect_deadline: float = 15.0
    request_deadline: float = 10.0
    #: An order's answer may take IB ten seconds, and then be 503.
    order_deadline: float = 15.0
    history_deadline: float = 30.0
    tickle_every: float = 60.0
    #: Between an answer that says "not authenticated" and the question that is believed.
    status_again: float = 1.0
    idle_before_probe: float = 4.0
    probe_deadline: float = 4.0
    watch_every: float = 1.0
    silent_before_order: float = 1.0
    #: The stream beats every 10 s.
    stream_silence: float = 25.0
    #: How long topics wait for the stream's `sts` before they are sent all the same.
    stream_greeting: float = 3.0
    #: smd subscriptions end silently after 10 minutes at the earliest.
    renew_after: float = 480.0
    #: How long a stream may owe an order's echo before the orders are read.
    echo_after: float = 1.0
    #: Orders and trades are read this often while the stream is down, and accounts always.
    poll_every: float = 5.0
    account_every: float = 15.0
    bars_every: float = 5.0
    first_wait: float = 1.0
    longest_wait: float = 300.0
    jitter: float = 0.2
    #: What a repeated 429 costs; IB's pages say 10 minutes and 15.
    penalty: float = 900.0

    def __post_init__(self) -> None:
        caps = sorted(self.confirm & CAPS)
        if caps:
            raise ConfigurationError(
                f"portal_confirm {', '.join(caps)}",
                "these questions guard price, size and value",
                "leave them out; raise the limit in the account's order presets instead",
            )

    @classmethod
    def from_settings(cls, settings: Settings) -> PortalSettings:
        """Raises ConfigurationError."""
        return cls(
            url=settings.portal_url,
            ca_file=settings.portal_ca_file,
            fingerprint=settings.portal_fingerprint,
            verify=settings.portal_verify,
            oauth_dir=settings.portal_oauth_dir,
            client_id=settings.client_id,
            compete=settings.portal_compete,
            confirm=CONFIRMED | settings.portal_confirm,
            connect_deadline=settings.connect_timeout,
            request_deadline=settings.request_timeout,
            history_deadline=max(settings.request_timeout, 30.0),
        )
