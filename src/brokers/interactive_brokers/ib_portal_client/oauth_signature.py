"""The text that OAuth 1.0a signs, and the header that carries the signature (RFC 5849, and IB's reading of it)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from urllib.parse import quote, quote_plus

Pairs = Iterable[tuple[str, str]]


class Encoding(StrEnum):
    """How names and values enter the base string. The two differ only where one holds a reserved character."""

    #: joined as they are, then quoted once, a space as "+": IB's own samples, and the clients that trade with them
    ONCE = "once"
    #: each percent-encoded by itself before they are sorted and joined (RFC 5849 section 3.4.1.3.2)
    RFC5849 = "rfc5849"


def base_string(method: str, url: str, pairs: Pairs, encoding: Encoding = Encoding.ONCE) -> str:
    """What is signed: `url` without its query, `pairs` the query's and the header's parameters without
    realm and oauth_signature."""
    if encoding is Encoding.ONCE:
        joined = "&".join(f"{name}={value}" for name, value in sorted(pairs))
        return "&".join((method.upper(), quote_plus(url), quote_plus(joined)))
    encoded = sorted((_percent(name), _percent(value)) for name, value in pairs)
    joined = "&".join(f"{name}={value}" for name, value in encoded)
    return "&".join((method.upper(), _percent(url), _percent(joined)))


def authorization(realm: str, parameters: Mapping[str, str]) -> str:
    """The value of the Authorization header: realm first, the rest by name, values percent-encoded."""
    fields = (f'{_percent(name)}="{_percent(value)}"' for name, value in sorted(parameters.items()))
    return f'OAuth realm="{_percent(realm)}", {", ".join(fields)}'


def _percent(text: str) -> str:
    return quote(text, safe="~")
