"""How the portal's certificate is trusted: an authority's file, a pinned fingerprint, or, on loopback alone, not."""

from __future__ import annotations

import hashlib
import ipaddress
import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ...errors import ConfigurationError
from .wire import BASE

_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


def is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class TlsPolicy:
    """`ca_file` PEM of the authority, None the system's. `fingerprint` is the SHA-256 of the server's certificate, hex
    with or without colons: the certificate is then what is trusted, whatever its name. `verify` False trusts anybody.

    Raises ConfigurationError when these contradict each other, or when verification is off for another machine.
    """

    url: str
    ca_file: Path | None = None
    fingerprint: str | None = None
    verify: bool = True

    def __post_init__(self) -> None:
        # gateways name their address with the API's own path behind it, and without
        object.__setattr__(self, "url", self.url.rstrip("/").removesuffix(BASE).rstrip("/"))
        parts = urlsplit(self.url)
        if parts.scheme != "https" or not parts.hostname:
            raise ConfigurationError(f"portal address {self.url}", "it is not https://host:port", "set IB_PORTAL_URL")
        if self.fingerprint is not None:
            plain = self.fingerprint.replace(":", "").strip().lower()
            if not _FINGERPRINT.fullmatch(plain):
                raise ConfigurationError("portal fingerprint", "it is not a SHA-256 in hex", "give 64 hex digits")
            object.__setattr__(self, "fingerprint", plain)
        if not self.verify and not is_loopback(parts.hostname):
            raise ConfigurationError(
                f"portal address {self.url}",
                "verification may be off for this machine only",
                "give the authority's file, or pin the certificate's fingerprint",
            )
        if not self.verify and self.fingerprint is not None:
            raise ConfigurationError("portal fingerprint", "verification is off", "turn it on, or leave it out")
        if self.ca_file is not None and not self.ca_file.is_file():
            raise ConfigurationError(f"portal ca_file {self.ca_file}", "there is no such file", "give a PEM file")

    @property
    def checks_name(self) -> bool:
        """Whether the certificate's name must be the host's."""
        return self.verify and self.fingerprint is None

    @property
    def authority(self) -> str | bool:
        """What requests takes as `verify`. A pinned certificate is checked by its fingerprint instead."""
        if not self.checks_name:
            return False
        return str(self.ca_file) if self.ca_file is not None else True

    def context(self) -> ssl.SSLContext:
        """For the WebSocket's own handshake; a pinned certificate is compared by `accepts` before anything is sent."""
        context = ssl.create_default_context(cafile=str(self.ca_file) if self.ca_file is not None else None)
        if not self.checks_name:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def accepts(self, certificate: bytes | None) -> bool:
        """Whether a certificate (DER) is the pinned one; anything passes where none is pinned."""
        if self.fingerprint is None:
            return True
        return certificate is not None and hashlib.sha256(certificate).hexdigest() == self.fingerprint
