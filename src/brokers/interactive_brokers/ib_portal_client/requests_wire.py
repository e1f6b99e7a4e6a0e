"""The portal wire over sockets: one requests.Session in a few threads, and websocket-client in two of its own.

Nothing here retries or follows redirects, and nothing blocks the event loop.
"""

from __future__ import annotations

import asyncio
import json
import logging
import queue
import socket
import ssl
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
import websocket
from requests.adapters import HTTPAdapter

from .tls import TlsPolicy
from .wire import BASE, WEBSOCKET, Ambiguous, ClosedListener, FrameListener, FrameSender, HttpCall, HttpReply, NotSent

logger = logging.getLogger(__name__)

#: Exchanges at the same time; the lanes let no more than these out, so that none waits here.
THREADS = 8
#: Seconds for the TCP and TLS handshakes of a call, at most.
CONNECT_DEADLINE = 5.0
#: Bytes of one answer; more is no answer of this API.
LARGEST_ANSWER = 64 * 1024 * 1024
#: What urllib3 raises before a request's first byte.
_BEFORE_SENDING = (
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
    urllib3.exceptions.SSLError,
    urllib3.exceptions.ProxyError,
)
USER_AGENT = "moondev-ibkr"


class _PinnedAdapter(HTTPAdapter):
    """Trusts the certificate of one SHA-256 fingerprint."""

    def __init__(self, fingerprint: str) -> None:
        self._fingerprint = fingerprint
        super().__init__(pool_connections=1, pool_maxsize=THREADS, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, assert_fingerprint=self._fingerprint, **kwargs)


def classify(error: BaseException) -> NotSent | Ambiguous:
    """Whether a failure of requests proves that nothing left."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        if isinstance(current, _BEFORE_SENDING):
            return NotSent(_words(current))
        inner = getattr(current, "reason", None)
        if not isinstance(inner, BaseException):
            inner = next((one for one in current.args if isinstance(one, BaseException)), None)
        current = inner or current.__cause__
    if isinstance(error, requests.exceptions.ConnectTimeout | requests.exceptions.InvalidURL):
        return NotSent(_words(error))
    return Ambiguous(_words(error))


def _words(error: BaseException) -> str:
    """The kind of a failure and its cause, without addresses of objects and without headers."""
    if isinstance(error, websocket.WebSocketBadStatusException):
        # its text is the whole answer, cookies and all
        return f"HTTP {error.status_code} instead of a stream"
    text = str(error).rpartition("): ")[2] or str(error)
    return f"{type(error).__name__}: {text[:200]}"


@dataclass(slots=True)
class _Ticket:
    """An exchange that nobody waits for any more must not leave late."""

    begun: bool = False
    withdrawn: bool = False
    guard: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> bool:
        with self.guard:
            self.begun = not self.withdrawn
            return self.begun

    def withdraw(self) -> bool:
        """True when it had not begun."""
        with self.guard:
            self.withdrawn = True
            return not self.begun


class RequestsWire:
    """A PortalWire to one address. `url` "https://host:port"."""

    def __init__(self, tls: TlsPolicy) -> None:
        self._tls = tls
        self._url = tls.url
        #: None until the first exchange, and after `close`.
        self._pool: ThreadPoolExecutor | None = None
        self._session = requests.Session()
        # proxies and netrc of the environment are not for a brokerage session
        self._session.trust_env = False
        self._session.verify = tls.authority
        self._session.headers["User-Agent"] = USER_AGENT
        adapter = _PinnedAdapter(tls.fingerprint) if tls.fingerprint else HTTPAdapter(1, THREADS, max_retries=0)
        self._session.mount("https://", adapter)
        self._sockets: set[_Socket] = set()
        if not tls.verify:
            warnings.filterwarnings("ignore", category=urllib3.exceptions.InsecureRequestWarning)

    @property
    def base(self) -> str:
        """The API's address, as requests are signed for it."""
        return self._url + BASE

    def _threads(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="portal")
        return self._pool

    async def exchange(self, call: HttpCall) -> HttpReply:
        ticket = _Ticket()
        work = asyncio.get_running_loop().run_in_executor(self._threads(), self._exchange, call, ticket)
        # a call that ends late is nobody's any more, and its error is seen
        work.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            # the thread ends by its own deadlines first; this one is for a thread that cannot
            async with asyncio.timeout(call.deadline + CONNECT_DEADLINE + 1.0):
                return await asyncio.shield(work)
        except TimeoutError:
            if ticket.withdraw():
                raise NotSent("no thread was free") from None
            raise Ambiguous(f"no answer within {call.deadline:g} s") from None
        except asyncio.CancelledError:
            ticket.withdraw()
            raise

    def _exchange(self, call: HttpCall, ticket: _Ticket) -> HttpReply:
        if not ticket.begin():
            raise NotSent("it was withdrawn")
        started = time.monotonic()
        headers = dict(call.headers)
        data = None
        if call.body is not None:
            data = json.dumps(call.body, separators=(",", ":")).encode()
            headers["Content-Type"] = "application/json"
        elif call.method != "GET":
            headers["Content-Length"] = "0"
        try:
            with self._session.request(
                call.method,
                self.base + call.path,
                params=dict(call.query),
                data=data,
                headers=headers,
                timeout=(min(CONNECT_DEADLINE, call.deadline), call.deadline),
                allow_redirects=False,
                stream=True,
            ) as answer:
                text = _read(answer, started + call.deadline)
                return HttpReply(answer.status_code, text, dict(answer.headers), time.monotonic() - started)
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise classify(error) from None

    async def open(
        self, cookie: str, on_frame: FrameListener, on_closed: ClosedListener, deadline: float, suffix: str = ""
    ) -> FrameSender:
        loop = asyncio.get_running_loop()
        url = self._url.replace("https://", "wss://", 1) + WEBSOCKET + suffix
        work = loop.run_in_executor(self._threads(), self._open, url, cookie, deadline)
        try:
            opened = await asyncio.shield(work)
        except asyncio.CancelledError:
            # nobody is left to close what the thread still opens
            work.add_done_callback(_close_unwanted)
            raise
        channel = _Socket(opened, loop, on_frame, on_closed, self._sockets.discard)
        self._sockets.add(channel)
        channel.start()
        return channel

    def _open(self, url: str, cookie: str, deadline: float) -> websocket.WebSocket:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 443
        try:
            plain = socket.create_connection((host, port), deadline)
        except OSError as error:
            raise NotSent(_words(error)) from None
        try:
            secure = self._tls.context().wrap_socket(plain, server_hostname=host)
            if not self._tls.accepts(secure.getpeercert(binary_form=True)):
                secure.close()
                raise NotSent("the certificate is not the pinned one")
            made = websocket.WebSocket(enable_multithread=True)
            made.settimeout(deadline)
            agent = [f"User-Agent: {USER_AGENT}"]
            made.connect(url, socket=secure, cookie=cookie, origin=self._url, header=agent)  # type: ignore[no-untyped-call]
        except (ssl.SSLError, OSError, websocket.WebSocketException) as error:
            plain.close()
            raise NotSent(_words(error)) from None
        made.settimeout(None)
        return made

    async def close(self) -> None:
        for channel in tuple(self._sockets):
            channel.close()
        pool, self._pool = self._pool, None
        if pool is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._end, pool)

    def _end(self, pool: ThreadPoolExecutor) -> None:
        pool.shutdown(wait=True, cancel_futures=True)
        self._session.close()


def _close_unwanted(opening: asyncio.Future[websocket.WebSocket]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().shutdown()  # type: ignore[no-untyped-call]


def _read(answer: requests.Response, until: float) -> str:
    """The whole body; the deadline counts for all of it, not for each read."""
    parts: list[bytes] = []
    size = 0
    for part in answer.iter_content(65_536):
        parts.append(part)
        size += len(part)
        if time.monotonic() > until or size > LARGEST_ANSWER:
            raise requests.exceptions.ReadTimeout("the answer did not end")
    return b"".join(parts).decode("utf-8", "replace")


class _Socket:
    """An open WebSocket: one thread reads, one writes, and both end with it."""

    def __init__(
        self,
        opened: websocket.WebSocket,
        loop: asyncio.AbstractEventLoop,
        on_frame: FrameListener,
        on_closed: ClosedListener,
        forget: Any,
    ) -> None:
        self._socket = opened
        self._loop = loop
        self._on_frame = on_frame
        self._on_closed = on_closed
        self._forget = forget
        self._outgoing: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._ended = False

    def start(self) -> None:
        for work in (self._read, self._write):
            threading.Thread(target=work, name=f"portal stream {work.__name__}", daemon=True).start()

    def send(self, text: str) -> None:
        self._outgoing.put(text)

    def close(self) -> None:
        self._ended = True
        self._outgoing.put(None)
        self._forget(self)
        self._shut()

    def _shut(self) -> None:
        """Wake the reading thread; the socket itself is closed there."""
        under = self._socket.sock
        if under is not None:
            try:
                under.shutdown(socket.SHUT_RDWR)
            except OSError:
                logger.debug("the stream's socket was closed already")

    def _read(self) -> None:
        why = "the other side closed it"
        try:
            while True:
                code, data = self._socket.recv_data()
                if code == websocket.ABNF.OPCODE_CLOSE:
                    break
                if code in (websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_BINARY):
                    self._tell(self._on_frame, data.decode("utf-8", "replace"))
        except (websocket.WebSocketException, OSError, ValueError) as error:
            why = _words(error)
        self._outgoing.put(None)
        self._socket.shutdown()  # type: ignore[no-untyped-call]
        self._tell(self._end, why)

    def _write(self) -> None:
        while (text := self._outgoing.get()) is not None:
            try:
                self._socket.send(text)
            except (websocket.WebSocketException, OSError) as error:
                logger.debug("stream: %s", _words(error))
                self._shut()
                return

    def _tell(self, target: FrameListener, text: str) -> None:
        try:
            self._loop.call_soon_threadsafe(target, text)
        except RuntimeError:
            # the loop has ended: nobody listens any more
            self._ended = True

    def _end(self, why: str) -> None:
        self._forget(self)
        if not self._ended:
            self._ended = True
            self._on_closed(why)
