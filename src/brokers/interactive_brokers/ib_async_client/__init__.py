"""TWS and IB Gateway over ib_async. The only package that imports it."""

from .ib_client import IbAsyncClient

__all__ = ["IbAsyncClient"]
