"""The Client Portal API: the only package that imports `requests` and `websocket`."""

from .client import IbPortalClient

__all__ = ["IbPortalClient"]
