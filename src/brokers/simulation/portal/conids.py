"""Contract numbers as the portal takes them: `265598`, "265598", "265598@NASDAQ"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...domain.instrument import InstrumentDetails
from .request import PortalRefusal

if TYPE_CHECKING:
    from .session import PortalSession


@dataclass(frozen=True, slots=True)
class Conid:
    """`text` as the client wrote it; `exchange` "" when it named none; `details` None for no such contract."""

    number: int
    text: str
    exchange: str
    details: InstrumentDetails | None


def read_conid(session: PortalSession, value: Any) -> Conid:
    """Raises PortalRefusal (400) for what is no number. An exchange where it does not trade is no such contract."""
    text = str(value).strip()
    number, _, exchange = text.partition("@")
    if not number.isascii() or not number.isdigit():
        raise PortalRefusal(f"Bad Request: invalid conid {text!r}")
    details = session.door.exchange.details(int(number))
    if details is not None and exchange and exchange not in details.valid_exchanges:
        details = None
    return Conid(int(number), text, exchange, details)


def known(session: PortalSession, value: Any, status: int = 500) -> InstrumentDetails:
    """The contract's details. Raises PortalRefusal: 400 for no number, `status` for no such contract."""
    conid = read_conid(session, value)
    if conid.details is None:
        raise PortalRefusal(f"No contract found for conid {conid.text}", status)
    return conid.details
