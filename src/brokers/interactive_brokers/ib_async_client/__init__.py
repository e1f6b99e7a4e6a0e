"""TWS and IB Gateway over ib_async. The only package that imports it."""

from .ib_client import IbAsyncClient
from .tls import TlsFiles, TlsOpener

__all__ = ["IbAsyncClient", "TlsFiles", "TlsOpener"]
