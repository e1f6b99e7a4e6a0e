"""Gateways beside the one at IB_HOST and IB_PORT, as rows: where each listens, how it is reached, what it may carry."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

#: Connections of one pool, the one that carries orders included; TWS itself takes no more than that.
MOST_CONNECTIONS = 32

_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_YES = {"yes": True, "true": True, "on": True, "1": True, "no": False, "false": False, "off": False, "0": False}


class GatewayMode(StrEnum):
    """How a gateway is reached."""

    DIRECT = "direct"  #: the TWS socket, in the clear
    TLS = "tls"  #: the TWS socket behind TLS
    PORTAL = "portal"  #: a Client Portal Gateway: HTTPS and its WebSocket
    FIX = "fix"  #: a FIX session; not supported


class Balance(StrEnum):
    """Which gateway gets the next question or line."""

    LEAST_LOADED = "least_loaded"  #: the one with the least to do for its weight
    ROUND_ROBIN = "round_robin"  #: each in turn, as often as its weight says


class GatewayRow(BaseModel):
    """One connection. `lines` are the market-data lines of its user name, None for IB_MARKET_DATA_LINES. `weight` is
    its share of the work. A `backup` gets work only while no other gateway is ready.

    Certificates: `ca_file` (PEM) is the authority that the gateway's certificate is checked against, None the system's;
    `fingerprint` (SHA-256, hex) pins the certificate instead, whatever its name; `certificate` (PEM) is what this side
    shows, with `key` where the private key lies in a file of its own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str
    port: Annotated[int, Field(ge=1, le=65535)]
    mode: GatewayMode = GatewayMode.DIRECT
    weight: Annotated[int, Field(ge=1, le=100)] = 1
    backup: bool = False
    lines: Annotated[int, Field(ge=1, le=10_000)] | None = None
    ca_file: Path | None = None
    fingerprint: str | None = None
    certificate: Path | None = None
    key: Path | None = None

    @field_validator("mode", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.strip().lower() if type(value) is str else value

    @field_validator("fingerprint")
    @classmethod
    def _hex(cls, value: str | None) -> str | None:
        if value is None:
            return None
        plain = value.replace(":", "").strip().lower()
        if not _FINGERPRINT.fullmatch(plain):
            raise ValueError("it is not a SHA-256 in hex: give 64 hex digits")
        return plain

    @model_validator(mode="after")
    def _fits(self) -> GatewayRow:
        if not self.host or any(letter.isspace() for letter in self.host):
            raise ValueError("the host is blank or holds white space")
        checked = [name for name in ("ca_file", "fingerprint") if getattr(self, name) is not None]
        if checked and self.mode not in (GatewayMode.TLS, GatewayMode.PORTAL):
            raise ValueError(f"{self.address} has {checked[0]}, and mode {self.mode} has no certificate")
        if self.certificate is not None and self.mode is not GatewayMode.TLS:
            raise ValueError(f"{self.address} has a client certificate, which only mode tls shows")
        if self.key is not None and self.certificate is None:
            raise ValueError(f"{self.address} has a key and no certificate")
        return self

    @property
    def address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def read_row(value: Any) -> Any:
    """What GatewayRow is made from: a mapping as it is, text taken apart ("host:port mode=tls weight=2 backup").

    Raises ValueError, which names the row and the word.
    """
    if not isinstance(value, str):
        return value
    words = value.split()
    if not words:
        raise ValueError("a row is empty: give host:port")
    host, separator, port = words[0].rpartition(":")
    if not separator or not host or not port.isdigit():
        raise ValueError(f"{words[0]!r} is not host:port")
    row: dict[str, Any] = {"host": host.removeprefix("[").removesuffix("]"), "port": int(port)}
    for word in words[1:]:
        name, equals, text = word.partition("=")
        if name not in GatewayRow.model_fields or name in ("host", "port"):
            known = ", ".join(field for field in GatewayRow.model_fields if field not in ("host", "port"))
            raise ValueError(f"{words[0]} has {name!r}, and there is no such option: one of {known}")
        if name in row:
            raise ValueError(f"{words[0]} has {name} twice")
        row[name] = _option(words[0], name, text if equals else None)
    return row


def _option(address: str, name: str, text: str | None) -> Any:
    if name == "backup":
        answer = True if text is None else _YES.get(text.lower())
        if answer is None:
            raise ValueError(f"{address} has backup={text}: yes or no")
        return answer
    if not text:
        raise ValueError(f"{address} has {name} without a value: {name}=…")
    return text


def read_rows(value: Any) -> Any:
    """Rows from text with commas between them, or from a list of texts and mappings."""
    if isinstance(value, str):
        value = [part for part in value.split(",") if part.strip()]
    if isinstance(value, Mapping):
        raise ValueError("it is one table: give a list of them ([[gateways]])")
    return [read_row(part) for part in value] if isinstance(value, list | tuple) else value
