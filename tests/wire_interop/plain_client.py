"""A TWS client of sockets and `struct` alone, written from the protocol's description and from nothing in this project.

Messages are lists of text fields, as they came; `LENGTHS` says how many fields each must have at a server version.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import Any

DEADLINE = 5.0

TICK_PRICE, TICK_SIZE, ORDER_STATUS, ERROR, OPEN_ORDER, ACCOUNT_VALUE, PORTFOLIO = 1, 2, 3, 4, 5, 6, 7
NEXT_VALID_ID, CONTRACT_DATA, EXECUTION, MANAGED_ACCOUNTS, HISTORY, TICK_STRING = 9, 10, 11, 15, 17, 46
CURRENT_TIME, CONTRACT_END, OPEN_ORDER_END, ACCOUNT_END, EXECUTION_END, SNAPSHOT_END = 49, 52, 53, 54, 55, 57
COMMISSION, POSITION, POSITION_END, SUMMARY, SUMMARY_END, HISTORY_UPDATE = 59, 61, 62, 63, 64, 90
PNL, PNL_SINGLE, COMPLETED_ORDER, COMPLETED_END = 94, 95, 101, 102

#: Fields of an order that is nothing special: message id -> number of fields at a server version.
LENGTHS: dict[int, Callable[[int], int]] = {
    TICK_PRICE: lambda v: 7,
    TICK_SIZE: lambda v: 5,
    ORDER_STATUS: lambda v: 12,
    ERROR: lambda v: 5 + (v >= 166),
    OPEN_ORDER: lambda v: 128 + (v >= 158) + (v >= 160) + (v >= 162) + 5 * (v >= 170) - (v >= 177),
    ACCOUNT_VALUE: lambda v: 6,
    PORTFOLIO: lambda v: 20,
    NEXT_VALID_ID: lambda v: 3,
    EXECUTION: lambda v: 31 + (v >= 178),
    MANAGED_ACCOUNTS: lambda v: 3,
    TICK_STRING: lambda v: 5,
    CURRENT_TIME: lambda v: 3,
    CONTRACT_END: lambda v: 3,
    OPEN_ORDER_END: lambda v: 2,
    ACCOUNT_END: lambda v: 3,
    EXECUTION_END: lambda v: 3,
    SNAPSHOT_END: lambda v: 3,
    COMMISSION: lambda v: 8,
    POSITION: lambda v: 16,
    POSITION_END: lambda v: 2,
    SUMMARY: lambda v: 7,
    SUMMARY_END: lambda v: 3,
    HISTORY_UPDATE: lambda v: 10,
    PNL: lambda v: 5,
    PNL_SINGLE: lambda v: 7,
    COMPLETED_ORDER: lambda v: 96 + 5 * (v >= 170) - (v >= 177),
    COMPLETED_END: lambda v: 1,
}

#: placeOrder at 178: field number of what a plain order sets.
ORDER_FIELDS = {
    "action": 16, "quantity": 17, "type": 18, "limit": 19, "aux": 20, "tif": 21, "oca": 22, "account": 23, "ref": 26,
    "transmit": 27, "parent": 28, "outside_rth": 33, "oca_type": 46, "trailing_percent": 69, "what_if": 84,
}  # fmt: skip
#: ... and what a client fills in for everybody.
ORDER_CONSTANTS = {
    25: 0, 27: 1, 28: 0, 29: 0, 30: 0, 31: 0, 32: 0, 33: 0, 34: 0, 36: 0, 43: 0, 45: -1, 46: 0, 49: 0, 52: 0, 53: 0,
    55: 0, 61: 0, 66: 0, 77: 0, 80: 0, 81: 0, 84: 0, 86: 0, 87: 0, 88: 0, 89: 0, 105: 0, 106: 0, 107: 0, 111: 0,
}  # fmt: skip
#: Field number -> the first version that has it.
ORDER_GATES = {109: 158, 110: 160, 111: 162, 112: 166, 113: 169}

Fields = list[str]


class PlainClient:
    """Blocking. `seen` keeps every message; TimeoutError after five seconds without what is waited for."""

    def __init__(self, port: int, client_id: int, version: int, oldest: int = 100) -> None:
        self.seen: list[Fields] = []
        self._data = b""
        self._read = 0
        self._socket = socket.create_connection(("127.0.0.1", port), DEADLINE)
        offer = f"v{oldest}..{version}".encode()
        self._socket.sendall(b"API\0" + struct.pack(">I", len(offer)) + offer)
        answer = self._frame()
        assert len(answer) == 2, answer
        self.version = int(answer[0])
        self.send(71, 2, client_id, "")

    def send(self, *fields: object) -> None:
        payload = "".join(f"{int(one) if isinstance(one, bool) else one}\0" for one in fields).encode("ascii")
        self._socket.sendall(struct.pack(">I", len(payload)) + payload)

    def close(self) -> None:
        self._socket.close()

    def _frame(self) -> Fields:
        while len(self._data) < 4 or len(self._data) < 4 + struct.unpack(">I", self._data[:4])[0]:
            more = self._socket.recv(4096)
            if not more:
                raise EOFError("the server has ended the connection")
            self._data += more
        end = 4 + struct.unpack(">I", self._data[:4])[0]
        payload, self._data = self._data[4:end], self._data[end:]
        assert payload.endswith(b"\0"), payload
        return payload[:-1].decode("ascii").split("\0")

    def next(self) -> Fields:
        fields = self._frame()
        length = LENGTHS.get(int(fields[0]))
        assert length is None or len(fields) == length(self.version), (self.version, len(fields), fields)
        self.seen.append(fields)
        return fields

    def until(self, kind: int, **at: object) -> Fields:
        """The next message of this kind; `f3="Filled"` asks that its field 3 is that."""
        wanted = {int(key[1:]): str(value) for key, value in at.items()}
        while True:
            while self._read < len(self.seen):
                fields = self.seen[self._read]
                self._read += 1
                if fields[0] == str(kind) and all(fields[number] == value for number, value in wanted.items()):
                    return fields
            self.next()

    def all(self, kind: int, **at: object) -> list[Fields]:
        """What has been read so far of this kind."""
        wanted = {int(key[1:]): str(value) for key, value in at.items()}
        return [f for f in self.seen if f[0] == str(kind) and all(f[n] == value for n, value in wanted.items())]

    def settle(self) -> None:
        """Reads all that the server had sent before it answered this."""
        self.send(49, 1)
        self.until(CURRENT_TIME)

    def details(self, request: int, symbol: str) -> None:
        issuer = [""] if self.version >= 176 else []
        self.send(9, 8, request, *contract(symbol), 0, "", "", *issuer)

    def place(self, order_id: int, symbol: str = "AAPL", **order: Any) -> None:
        values: dict[int, object] = {0: 3, 1: order_id, **ORDER_CONSTANTS}
        values |= dict(enumerate(contract(symbol), 2)) | {ORDER_FIELDS[name]: value for name, value in order.items()}
        numbers = [number for number in range(114) if self.version >= ORDER_GATES.get(number, 0)]
        fields = [values.get(number, "") for number in numbers]
        if self.version < 177:
            fields.insert(42, "")  # faProfile
        self.send(*fields)

    def cancel(self, order_id: int) -> None:
        self.send(4, 1, order_id, *([""] if self.version >= 169 else []))

    def life(self, order_id: int) -> list[str]:
        """What was told of one order, a word a message."""
        words, executions = [], set()
        for f in self.seen:
            if f[0] == str(OPEN_ORDER) and f[1] == str(order_id):
                words.append("openOrder")
            elif f[0] == str(ORDER_STATUS) and f[1] == str(order_id):
                words.append(f[2])
            elif f[0] == str(EXECUTION) and f[1:3] == ["-1", str(order_id)]:
                executions.add(f[14])
                words.append("execDetails")
            elif f[0] == str(COMMISSION) and f[2] in executions:
                words.append("commissionReport")
            elif f[0] == str(ERROR) and f[2] == str(order_id):
                words.append(f"error {f[3]}")
        return words


def contract(symbol: str) -> Fields:
    """The twelve fields of a stock in a request."""
    return ["0", symbol, "STK", "", "", "", "", "SMART", "", "USD", "", ""]
