"""Tick types of market data lines, and the generic ticks that a client may ask for beside them. Source: IB API
"Available Tick Types"; reference section 2.6."""

from __future__ import annotations

from typing import NamedTuple

from ...domain.instrument import SecType


class TickTypes(NamedTuple):
    """The numbers under which one kind of data (live or delayed) is sent."""

    bid: int
    bid_size: int
    ask: int
    ask_size: int
    last: int
    last_size: int
    high: int
    low: int
    volume: int
    close: int
    open: int
    timestamp: int
    halted: int


LIVE = TickTypes(1, 0, 2, 3, 4, 5, 6, 7, 8, 9, 14, 45, 49)
DELAYED = TickTypes(66, 69, 67, 70, 68, 71, 72, 73, 74, 75, 76, 88, 90)


class ComputationTypes(NamedTuple):
    """The numbers of message 21, by what the greeks were computed from."""

    bid: int
    ask: int
    last: int
    model: int


LIVE_COMPUTATIONS = ComputationTypes(10, 11, 12, 13)
DELAYED_COMPUTATIONS = ComputationTypes(80, 81, 82, 83)
#: The answer to a calculation that a client asked for.
CUSTOM_COMPUTATION = 53

CALL_OPEN_INTEREST, PUT_OPEN_INTEREST = 27, 28
CALL_VOLUME, PUT_VOLUME = 29, 30
AVERAGE_OPTION_VOLUME = 87
IMPLIED_VOLATILITY = 24
RT_VOLUME = 48
RT_TRADE_VOLUME = 77
MARK_PRICE = 37
SHORTABLE = 46
SHORTABLE_SHARES = 89
TRADE_COUNT = 54
HISTORICAL_VOLATILITY = 23
REAL_TIME_VOLATILITY = 58
AVERAGE_VOLUME = 21
#: weeks -> (low, high)
WEEK_RANGES = {13: (15, 16), 26: (17, 18), 52: (19, 20)}

#: Generic tick ids that TWS accepts, with its own names, by security type. Those without data here are accepted and
#: bring nothing, as in TWS when there is none.
_COMMON = {
    165: "Misc. Stats",
    221: "Creditman Mark Price",
    225: "Auction",
    232: "Pl Price",
    233: "RTVolume",
    292: "Wide_news",
    293: "TradeCount",
    294: "TradeRate",
    295: "VolumeRate",
    318: "LastRTHTrade",
    375: "RTTrdVolume",
    411: "rthistvol",
    456: "IBDividends",
    595: "Short-Term Volume X Minutes",
}
GENERIC_TICKS: dict[SecType, dict[int, str]] = {
    SecType.STOCK: _COMMON
    | {
        100: "Option Volume",
        101: "Option Open Interest",
        104: "Historical Volatility",
        105: "Average Opt Volume",
        106: "impvolat",
        236: "inventory",
        258: "Fundamentals",
    },
    SecType.OPTION: _COMMON
    | {100: "Option Volume", 101: "Option Open Interest", 105: "Average Opt Volume", 106: "impvolat"},
    SecType.FUTURE: _COMMON | {588: "Futures Open Interest"},
}


NEWS = 292


class Extras(NamedTuple):
    """What a list of generic ticks says beside their numbers. `quiet`: no plain ticks. `providers` of news, () all."""

    quiet: bool
    providers: tuple[str, ...]


def extras(text: str) -> Extras:
    """Of "mdoff,292:BRFG+DJNL"."""
    parts = [part.strip() for part in text.split(",")]
    named = [part.partition(":")[2] for part in parts if part.partition(":")[0] == str(NEWS)]
    codes = [code.strip() for part in named for code in part.split("+")]
    return Extras("mdoff" in parts, tuple(code for code in codes if code))


def generic_ticks(text: str, sec_type: SecType) -> tuple[frozenset[int], str]:
    """The ids asked for, and IB's complaint ("" when there is none)."""
    legal = GENERIC_TICKS.get(sec_type, _COMMON)
    wanted: set[int] = set()
    for part in text.split(","):
        # news providers travel as "292:BRFG", "mdoff" switches the plain ticks off
        name = part.strip().partition(":")[0]
        if not name or name == "mdoff":
            continue
        if not name.isdigit() or int(name) not in legal:
            known = ",".join(f"{number}({label})" for number, label in sorted(legal.items()))
            complaint = (
                f"Error validating request.-'bX' : cause - Incorrect generic tick list of {text}.  "
                f"Legal ones for ({sec_type.value}) are: {known}"
            )
            return frozenset(), complaint
        wanted.add(int(name))
    return frozenset(wanted), ""
