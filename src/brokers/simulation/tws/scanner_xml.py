"""What the scanner offers, as the XML of message 19: the elements of IB's own document that clients read."""

from __future__ import annotations

from functools import cache
from xml.sax.saxutils import escape

from ..scans import FILTERS, INSTRUMENTS, PLACES, SCANS, Place, offered


def _element(name: str, *content: str) -> str:
    return f"<{name}>{''.join(content)}</{name}>"


def _text(name: str, text: str) -> str:
    return _element(name, escape(text))


@cache
def scanner_parameters() -> str:
    filters = ",".join(FILTERS)
    instruments = [
        _element("Instrument", _text("name", name), _text("type", code), _text("filters", filters))
        for code, (_, name) in INSTRUMENTS.items()
    ]
    locations = [
        _element(
            "Location",
            _text("displayName", name),
            _text("locationCode", code),
            _text("instruments", code),
            _element("LocationTree", *(_location(place.name, place.code, code) for place in _below(code))),
        )
        for code, (_, name) in INSTRUMENTS.items()
    ]
    scans = [
        _element(
            "ScanType",
            _text("displayName", row.name),
            _text("scanCode", row.code),
            _text("instruments", ",".join(code for code in INSTRUMENTS if row in offered(code))),
        )
        for row in SCANS.values()
    ]
    fields = [
        _element(
            "SimpleFilter",
            _text("category", row.group),
            _element("AbstractField", _text("code", row.code), _text("displayName", row.name)),
        )
        for row in FILTERS.values()
    ]
    return '<?xml version="1.0" encoding="UTF-8"?>' + _element(
        "ScanParameterResponse",
        _element("InstrumentList", *instruments),
        _element("LocationTree", *locations),
        _element("ScanTypeList", *scans),
        _element("FilterList", *fields),
    )


def _below(instrument: str) -> list[Place]:
    return [place for place in PLACES.values() if place.instrument == instrument]


def _location(name: str, code: str, instrument: str) -> str:
    return _element(
        "Location", _text("displayName", name), _text("locationCode", code), _text("instruments", instrument)
    )
