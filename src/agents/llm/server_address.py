"""Where a model server is: how its address is read, whether it is one's own, and why it cannot be reached."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import urlsplit

from ...brokers.errors import ConfigurationError, ConnectFailed

#: Ends of host names that only exist in a network of one's own.
PRIVATE_ENDS = (".local", ".lan", ".internal", ".home.arpa", ".localhost")


def server_url(host: str, default_port: int) -> str:
    """`host`, `host:port` or a URL as a URL with its port: `default_port` without a scheme, else the scheme's own, as
    Ollama reads it. Raises ConfigurationError for anything else, without showing a password."""
    scheme, given, rest = host.strip().rpartition("://")
    scheme = scheme.lower() if given else "http"
    advice = "give host, host:port or http://host:port"
    try:
        parts = urlsplit(f"{scheme}://{rest}")
        port = parts.port or ({"http": 80, "https": 443}.get(scheme) if given else default_port)
    except ValueError as error:
        raise ConfigurationError("model server", str(error), advice) from None
    if scheme not in ("http", "https") or not parts.hostname or any(letter.isspace() for letter in rest):
        raise ConfigurationError("model server", "it is no address", advice)
    if parts.username is not None or parts.query or parts.fragment:
        raise ConfigurationError("model server", "its URL holds more than a place", "give http://host:port alone")
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{scheme}://{name}:{port}{parts.path.rstrip('/')}"


def is_private_server(url: str) -> bool:
    """Whether it is on this machine or in a private network, where nobody charges for an answer."""
    name = urlsplit(url).hostname or ""
    try:
        address = ip_address(name)
    except ValueError:
        return "." not in name or name.endswith(PRIVATE_ENDS)
    return address.is_loopback or address.is_private or address.is_link_local


def connect_failed(what: str, error: BaseException, next: str) -> ConnectFailed:
    """Clients hide the cause behind a sentence of their own; it is the error that they were handling."""
    causes = list(_causes(error))
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return ConnectFailed(what, "connection refused", next, kind="refused")
    if any("timeout" in type(cause).__name__.lower() for cause in causes):
        return ConnectFailed(what, "no connection in time", next, kind="timeout")
    return ConnectFailed(what, _deepest_words(causes), next, kind="unreachable")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and all that led to it."""
    yield error
    inner = [error.__cause__ or error.__context__]
    if isinstance(error, BaseExceptionGroup):
        inner += error.exceptions
    for cause in inner:
        if cause is not None:
            yield from _causes(cause)


def _deepest_words(causes: list[BaseException]) -> str:
    """What the innermost error says that says anything."""
    return next((str(cause) for cause in reversed(causes) if str(cause)), type(causes[0]).__name__)
