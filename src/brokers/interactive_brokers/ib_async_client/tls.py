"""The TWS socket behind TLS: whom it is believed to be, and what this side shows."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from dataclasses import dataclass
from pathlib import Path

from ...errors import ConfigurationError, ConnectFailed
from .connection import open_socket


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """`ca_file` PEM of the authority, None the system's. `fingerprint` (SHA-256, 64 hex digits) pins the server's
    certificate instead, whatever its name. `certificate` PEM of this side, `key` its private key where that lies in a
    file of its own."""

    ca_file: Path | None = None
    fingerprint: str | None = None
    certificate: Path | None = None
    key: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Raises ConfigurationError for a file that is missing or is no PEM."""
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key)
        except OSError as error:
            files = [str(path) for path in (self.ca_file, self.certificate, self.key) if path is not None]
            raise ConfigurationError(
                f"certificates {', '.join(files)}", str(error), "give PEM files that this process may read"
            ) from error
        if self.fingerprint is not None:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


class TlsOpener:
    """An Opener that speaks TLS 1.2 or later. Nothing is sent to a server whose certificate is not believed."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._context = files.context()

    async def __call__(self, protocol: asyncio.Protocol, host: str, port: int) -> asyncio.Transport:
        """Raises OSError, and ConnectFailed for a certificate that is not believed."""
        loop = asyncio.get_running_loop()
        sock = await open_socket(host, port)
        what = f"connecting to {host}:{port} over TLS"
        try:
            transport, _ = await loop.create_connection(
                lambda: protocol, sock=sock, ssl=self._context, server_hostname=host
            )
        except ssl.SSLCertVerificationError as error:
            step = "name its authority with ca_file=, or pin it with fingerprint="
            raise ConnectFailed(what, error.verify_message, step, kind="protocol") from error
        except ssl.SSLError as error:
            raise ConnectFailed(what, str(error), "is there TLS on that port?", kind="protocol") from error
        except BaseException:
            sock.close()
            raise
        shown = _fingerprint(transport)
        if self._files.fingerprint not in (None, shown):
            transport.abort()
            raise ConnectFailed(what, f"its certificate is {shown}, not the pinned one", "check which", kind="protocol")
        return transport


def _fingerprint(transport: asyncio.Transport) -> str:
    certificate: bytes = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
    return hashlib.sha256(certificate).hexdigest()
