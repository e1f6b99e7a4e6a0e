"""The portal's certificate: an authority made at the start, and a leaf for the names by which this machine is reached.

The authority's key never leaves this process; clients get its certificate as a file.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import trustme

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
#: Listening there means every address, and no client calls it by that name.
_EVERY_ADDRESS = ("0.0.0.0", "::", "")


class Certificate:
    """A server's TLS context, and the authority that clients have to trust, as PEM."""

    def __init__(self, host: str, *names: str) -> None:
        authority = trustme.CA(organization_name="moondev-ibkr paper gateway")
        wanted = dict.fromkeys((*LOCAL_NAMES, host, *names))
        leaf = authority.issue_cert(*(name for name in wanted if name not in _EVERY_ADDRESS))
        self.authority_pem: bytes = authority.cert_pem.bytes()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        leaf.configure_cert(self.context)

    def write(self, path: Path) -> None:
        """Atomic: whoever sees the file sees all of it. Raises OSError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        part.write_bytes(self.authority_pem)
        os.replace(part, path)
