# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""The tick messages decoded in C, with the results of `frames.FrameReader`; every other message is left to it. And the
quote that a line's Ticker comes to, with the result of `market_values.to_quote`.

A message is decoded here only when it has exactly the form that a gateway sends: all fields, plain digits, a stream
that is known. Anything else (an empty field, an exponent, a type that has no attribute) goes to the pure reader as it
is, so there is one place where odd messages are judged.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.dict cimport PyDict_GetItem
from cpython.list cimport PyList_Append
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.math cimport NAN
from libc.stdint cimport int64_t, uint8_t

from ib_async.objects import (
    DOMLevel,
    MktDepthData,
    TickAttribBidAsk,
    TickAttribLast,
    TickByTickAllLast,
    TickByTickBidAsk,
    TickByTickMidPoint,
    TickData,
)
from ib_async.wrapper import GENERIC_TICK_MAP, PRICE_TICK_MAP, SIZE_TICK_MAP, STRING_TICK_MAP, TIMESTAMP_TICK_MAP

from ...domain.market_data import DataType, Quote
from ..ib_vocabulary import DATA_TYPES, to_halted
from .frames import FrameReader

cdef extern from *:
    """
    #include <float.h>
    #if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD == 0
    #define DIVISION_IS_EXACT 1
    #else
    #define DIVISION_IS_EXACT 0
    #endif
    static PyObject *allocate_tuple(PyObject *type, Py_ssize_t size) {
        return ((PyTypeObject *)type)->tp_alloc((PyTypeObject *)type, size);
    }
    static void fill_tuple(PyObject *tuple, Py_ssize_t at, PyObject *value) {
        Py_INCREF(value);
        PyTuple_SET_ITEM(tuple, at, value);
    }
    static int set_slot(PyObject *slot, PyObject *owner, PyObject *value) {
        return Py_TYPE(slot)->tp_descr_set(slot, owner, value);
    }
    """
    const bint DIVISION_IS_EXACT
    object allocate_tuple(object type, Py_ssize_t size)
    void fill_tuple(object row, Py_ssize_t at, object value)
    int set_slot(object slot, object owner, object value) except -1

#: What `fast_frames` must find here: a build that was left over from other sources is not used.
INTERFACE = 3

cdef enum:
    # places for streams, and how many of them one packet may use
    SLOTS = 4096
    FULL = 3072

cdef enum:
    BID = 1
    BID_SIZE = 2
    ASK = 4
    ASK_SIZE = 8
    LAST = 16
    LAST_SIZE = 32
    VOLUME = 64
    TOUCHED = 128
    # the value is the empty one of the wrapper's defaults
    NO_BID = 256
    NO_BID_SIZE = 512
    NO_ASK = 1024
    NO_ASK_SIZE = 2048

cdef double UNSET = 1.7976931348623157e308
cdef double UNSET_SIZE = 2147483647.0
cdef double[23] POWERS
cdef int _power
for _power in range(23):
    POWERS[_power] = 10.0 ** _power

cdef dict PRICE_NAMES = dict(PRICE_TICK_MAP)
cdef dict SIZE_NAMES = dict(SIZE_TICK_MAP)
cdef dict GENERIC_NAMES = dict(GENERIC_TICK_MAP)
cdef dict STRING_NAMES = dict(STRING_TICK_MAP)
cdef set TIMESTAMPS = set(TIMESTAMP_TICK_MAP)
cdef object ZERO = 0


cdef struct Slot:
    # what is known of one stream during one packet; the Python objects are kept alive by `_keep`
    int64_t request
    int64_t packet
    PyObject *ticker
    PyObject *values
    PyObject *ticks
    PyObject *line
    bint is_pending
    int dirty
    double bid
    double bid_size
    double ask
    double ask_size
    double last
    double last_size
    double volume


cdef class RowWriter:
    """One row of a table of quotes: `cells` (columns by rows), how often it was written, and whether since looked at."""

    cdef double[:, ::1] cells
    cdef int64_t[::1] updates
    cdef uint8_t[::1] changed
    cdef Py_ssize_t row
    cdef object written_for
    cdef readonly object table

    def __init__(self, table, int64_t[::1] updates, uint8_t[::1] changed, Py_ssize_t row):
        cdef double[:, ::1] cells = table
        self.table = table
        if cells.shape[0] != 8 or not 0 <= row < cells.shape[1]:
            raise ValueError("a table of quotes has eight columns, and its rows are numbered from 0")
        if updates.shape[0] != cells.shape[1] or changed.shape[0] != cells.shape[1]:
            raise ValueError("the columns of a table of quotes are equally long")
        self.cells, self.updates, self.changed, self.row = cells, updates, changed, row

    cdef int write(self, Slot *slot, int dirty, double now) except -1:
        cdef Py_ssize_t row = self.row
        if dirty & BID:
            self.cells[0, row] = price_or_nan(slot.bid)
        if dirty & ASK:
            self.cells[1, row] = price_or_nan(slot.ask)
        if dirty & BID_SIZE:
            self.cells[2, row] = size_or_nan(slot.bid_size)
        if dirty & ASK_SIZE:
            self.cells[3, row] = size_or_nan(slot.ask_size)
        if dirty & LAST:
            self.cells[4, row] = price_or_nan(slot.last)
        if dirty & LAST_SIZE:
            self.cells[5, row] = size_or_nan(slot.last_size)
        if dirty & VOLUME:
            self.cells[6, row] = size_or_nan(slot.volume)
        self.cells[7, row] = now
        if <PyObject *>self.written_for != slot.ticker:
            # a new line for the same contract: nothing of the one before may stay
            self.written_for = <object>slot.ticker
            self.write_all(<dict>slot.values)
        self.updates[row] += 1
        self.changed[row] = 1
        return 0

    cdef int write_all(self, dict values) except -1:
        cdef Py_ssize_t row = self.row
        self.cells[0, row], self.cells[1, row] = price_or_nan(values["bid"]), price_or_nan(values["ask"])
        self.cells[2, row], self.cells[3, row] = size_or_nan(values["bidSize"]), size_or_nan(values["askSize"])
        self.cells[4, row], self.cells[5, row] = price_or_nan(values["last"]), size_or_nan(values["lastSize"])
        self.cells[6, row] = size_or_nan(values["volume"])
        return 0


cdef inline double price_or_nan(double value) noexcept nogil:
    return value if 0 < value < UNSET else NAN


cdef inline double size_or_nan(double value) noexcept nogil:
    return value if 0 <= value < UNSET and value != UNSET_SIZE else NAN


cdef inline bint read_integer(const char **at, const char *end, int64_t *value) noexcept nogil:
    """Digits up to the next NUL, without a leading zero; moves behind it."""
    cdef const char *p = at[0]
    cdef const char *start = p
    cdef int64_t found = 0
    while p < end and 48 <= p[0] <= 57:
        found = found * 10 + (p[0] - 48)
        p += 1
    if p == start or p - start > 17 or p >= end or p[0] != 0 or (start[0] == 48 and p - start > 1):
        return False
    value[0] = found
    at[0] = p + 1
    return True


cdef inline bint read_number(const char **at, const char *end, double *value) noexcept nogil:
    """A decimal number of at most 15 digits up to the next NUL, rounded as Python does; moves behind it.

    Digits and power of ten are exact as doubles, so their quotient is the correctly rounded value.
    """
    cdef const char *p = at[0]
    cdef int64_t found = 0
    cdef int digits = 0, decimals = 0
    cdef bint is_negative = False
    if p < end and p[0] == 45:
        is_negative = True
        p += 1
    while p < end and 48 <= p[0] <= 57:
        found = found * 10 + (p[0] - 48)
        digits += 1
        p += 1
        if digits > 15:
            return False
    if p < end and p[0] == 46:
        p += 1
        while p < end and 48 <= p[0] <= 57:
            found = found * 10 + (p[0] - 48)
            digits += 1
            decimals += 1
            p += 1
            if digits > 15:
                return False
    if digits == 0 or p >= end or p[0] != 0 or not DIVISION_IS_EXACT:
        return False
    value[0] = <double>found / POWERS[decimals] if decimals else <double>found
    if is_negative:
        value[0] = -value[0]
    at[0] = p + 1
    return True


cdef inline bint skip_field(const char **at, const char *end) noexcept nogil:
    cdef const char *p = at[0]
    while p < end and p[0] != 0:
        p += 1
    if p >= end:
        return False
    at[0] = p + 1
    return True


cdef inline object read_text(const char **at, const char *end):
    """The text up to the next NUL, which the caller knows to be there."""
    cdef const char *p = at[0]
    cdef const char *start = p
    while p < end and p[0] != 0:
        p += 1
    at[0] = p + 1
    return PyUnicode_DecodeUTF8(start, p - start, "backslashreplace")


cdef inline bytes digits(int64_t number):
    """As b"%d" of a number that is not negative, which takes longer than all the rest of a packet of one tick."""
    cdef char[20] text
    cdef int at = 20
    while True:
        at -= 1
        text[at] = <char>(48 + number % 10)
        number //= 10
        if number == 0:
            return PyBytes_FromStringAndSize(&text[at], 20 - at)


cdef inline int count_fields(const char *p, const char *end) noexcept nogil:
    cdef int found = 0
    while p < end:
        if p[0] == 0:
            found += 1
        p += 1
    return found


cdef class TickDispatcher:
    """Reads for one `FrameReader`: `read(data)` does what its `_read` does."""

    cdef object _reader
    cdef object _wrapper
    cdef Slot *_slots
    cdef int _used
    cdef int[FULL] _dirty
    cdef int _dirty_count
    cdef int64_t _packet
    cdef list _keep
    cdef bint _rows_are_left
    cdef object _now
    cdef set _pending
    cdef dict _by_request
    cdef dict _quoted
    cdef object _no_price
    cdef object _no_size
    cdef double _no_price_value
    cdef double _no_size_value
    cdef bint _empty_counts
    cdef object _defaults
    cdef bint _nan_is_unset
    cdef bint _lines_are_fast

    def __cinit__(self):
        self._slots = <Slot *>PyMem_Calloc(SLOTS, sizeof(Slot))
        if self._slots == NULL:
            raise MemoryError()

    def __dealloc__(self):
        PyMem_Free(self._slots)

    def __init__(self, reader):
        wrapper = reader._wrapper
        self._reader = reader
        self._wrapper = wrapper
        self._packet = 0
        self._used = 0
        self._dirty_count = 0
        self._keep = []
        self._no_price, self._no_size = wrapper.defaultEmptyPrice, wrapper.defaultEmptySize
        self._empty_counts = bool(self._no_price or self._no_size)
        self._defaults = wrapper.defaults
        unset = self._defaults.unset
        self._nan_is_unset = unset != unset
        is_plain = isinstance(self._no_price, (int, float)) and isinstance(self._no_size, (int, float))
        self._lines_are_fast = is_plain and self._nan_is_unset
        if self._lines_are_fast:
            self._no_price_value, self._no_size_value = self._no_price, self._no_size

    def read(self, bytes data not None):
        """Dispatch the complete messages of `data`; how many bytes they took."""
        cdef const unsigned char *base = data
        cdef const char *body
        cdef Py_ssize_t size = len(data), position = 0, start, end, length
        cdef int64_t messages = 0
        reader = self._reader
        reader._need = 4
        self._rows_are_left = False
        self._begin()
        try:
            while size - position >= 4:
                length = (
                    (<Py_ssize_t>base[position] << 24)
                    | (<Py_ssize_t>base[position + 1] << 16)
                    | (<Py_ssize_t>base[position + 2] << 8)
                    | <Py_ssize_t>base[position + 3]
                )
                start = position + 4
                end = start + length
                if end > size:
                    if length > reader._max_frame:
                        reader._corrupt(f"a message of {length} bytes was announced")
                    reader._need = end - position
                    break
                body = <const char *>base + start
                if length > 0 and self._fast(body, body + length):
                    messages += 1
                else:
                    self._slow(data, position, end)
                    if not reader._open:
                        return size
                    reader._need = 4
                position = end
        finally:
            reader.messages += messages
            self._flush()
            self._end()
        return position

    cdef int _begin(self) except -1:
        """Forget what was known of the streams, and look again where they are kept."""
        wrapper = self._wrapper
        self._packet += 1
        self._used = 0
        self._by_request = wrapper.reqId2Ticker
        self._quoted = wrapper.quoted
        self._pending = wrapper.pendingTickers
        return 0

    cdef void _end(self):
        self._keep.clear()
        self._now = None
        self._pending = None

    cdef int _slow(self, bytes data, Py_ssize_t start, Py_ssize_t end) except -1:
        """One message by the pure reader. It may start or end streams, so nothing remembered holds afterwards."""
        # what it writes into a line's Ticker is not in the rows
        self._rows_are_left = True
        self._flush()
        FrameReader._read(self._reader, data[start:end])
        self._begin()
        return 0

    cdef object _time(self):
        if self._now is None:
            self._now = self._wrapper.lastTime
        return self._now

    cdef Slot *_slot(self, int64_t request) except? NULL:
        """What is known of a stream; NULL when it is not known, or too many are."""
        cdef int at = <int>(request & (SLOTS - 1))
        cdef Slot *slot = &self._slots[at]
        cdef PyObject *found
        while slot.packet == self._packet:
            if slot.request == request:
                return slot
            at = (at + 1) & (SLOTS - 1)
            slot = &self._slots[at]
        if self._used >= FULL:
            self._rows_are_left = True
            self._flush()
            self._packet += 1
            self._used = 0
            return self._slot(request)
        number = <object>request
        found = PyDict_GetItem(self._by_request, number)
        if found == NULL:
            return NULL
        ticker = <object>found
        values = ticker.__dict__
        self._keep.append(ticker)
        self._keep.append(values)
        slot.ticker, slot.values, slot.ticks = found, <PyObject *>values, NULL
        slot.line = NULL
        slot.is_pending, slot.dirty = False, 0
        if self._quoted:
            found = PyDict_GetItem(self._quoted, digits(request))
            if found != NULL:
                if not self._lines_are_fast or (<object>found).ticker is not ticker:
                    return NULL
                self._keep.append(<object>found)
                slot.line = found
                slot.bid_size, slot.ask_size = values["bidSize"], values["askSize"]
                slot.last, slot.last_size = values["last"], values["lastSize"]
        slot.request, slot.packet = request, self._packet
        self._used += 1
        return slot

    cdef inline int _mark(self, Slot *slot, int what) except -1:
        if slot.dirty == 0:
            self._dirty[self._dirty_count] = <int>(slot - self._slots)
            self._dirty_count += 1
        slot.dirty |= what
        return 0

    cdef inline int _pend(self, Slot *slot) except -1:
        if not slot.is_pending:
            slot.is_pending = True
            self._pending.add(<object>slot.ticker)
        return 0

    cdef inline int _add_tick(self, Slot *slot, int64_t kind, object price, object size) except -1:
        if slot.ticks == NULL:
            ticks = (<dict>slot.values)["ticks"]
            self._keep.append(ticks)
            slot.ticks = <PyObject *>ticks
        tick = allocate_tuple(TickData, 4)
        fill_tuple(tick, 0, self._time())
        fill_tuple(tick, 1, <object>kind)
        fill_tuple(tick, 2, price)
        fill_tuple(tick, 3, size)
        return PyList_Append(<list>slot.ticks, tick)

    cdef int _flush(self) except -1:
        """Write the values that lines have now into their Tickers, and into their rows at the end of a packet that had
        ticks for this reader alone; the table copies the rows of other packets itself."""
        cdef int number, dirty
        cdef Slot *slot
        cdef dict values
        cdef double now
        if self._dirty_count == 0:
            return 0
        wrapper = self._wrapper
        changed = wrapper.changed
        now = wrapper.time
        for number in range(self._dirty_count):
            slot = &self._slots[self._dirty[number]]
            dirty, slot.dirty = slot.dirty, 0
            values, line = <dict>slot.values, <object>slot.line
            if dirty & BID:
                values["bid"] = self._no_price if dirty & NO_BID else slot.bid
            if dirty & BID_SIZE:
                values["bidSize"] = self._no_size if dirty & NO_BID_SIZE else slot.bid_size
            if dirty & ASK:
                values["ask"] = self._no_price if dirty & NO_ASK else slot.ask
            if dirty & ASK_SIZE:
                values["askSize"] = self._no_size if dirty & NO_ASK_SIZE else slot.ask_size
            if dirty & LAST:
                values["last"] = slot.last
            if dirty & LAST_SIZE:
                values["lastSize"] = slot.last_size
            if dirty & VOLUME:
                values["volume"] = slot.volume
            if not line.is_changed:
                line.is_changed = True
                changed.append(line)
            if self._rows_are_left:
                continue
            rows = line.rows
            if rows:
                for writer in <tuple>rows:
                    (<RowWriter?>writer).write(slot, dirty, now)
                line.is_row_current = True
        self._dirty_count = 0
        return 0

    cdef int _fast(self, const char *p, const char *end) except -1:
        """Decode one message; 0 when it is for the pure reader."""
        cdef char first = p[0]
        if (end - 1)[0] != 0 or end - p < 4:
            return 0
        if p[1] == 0:
            if first == 49:
                return self._price(p + 2, end)
            if first == 50:
                return self._size(p + 2, end)
            return 0
        if p[2] != 0:
            return 0
        if first == 52:
            if p[1] == 54:
                return self._string(p + 3, end)
            if p[1] == 53:
                return self._generic(p + 3, end)
        elif first == 57 and p[1] == 57:
            return self._tick_by_tick(p + 3, end)
        elif first == 49 and (p[1] == 50 or p[1] == 51):
            return self._depth(p + 3, end, p[1] == 51)
        return 0

    cdef int _price(self, const char *p, const char *end) except -1:
        cdef int64_t request, kind
        cdef double price, size
        cdef Slot *slot
        cdef PyObject *name
        cdef dict values
        if not (
            skip_field(&p, end)
            and read_integer(&p, end, &request)
            and read_integer(&p, end, &kind)
            and read_number(&p, end, &price)
            and read_number(&p, end, &size)
            and skip_field(&p, end)
            and p == end
        ):
            return 0
        slot = self._slot(request)
        if slot == NULL:
            return 0
        if kind == 1 or kind == 66:
            return self._bid(slot, kind, price, size)
        if kind == 2 or kind == 67:
            return self._ask(slot, kind, price, size)
        values = <dict>slot.values
        if kind == 4 or kind == 68:
            if price == -1 and size == 0:
                return 0
            if slot.line != NULL:
                slot.last, slot.last_size = price, size
                self._mark(slot, LAST | LAST_SIZE)
                return 1
            values["prevLast"], values["prevLastSize"] = values["last"], values["lastSize"]
            values["last"], values["lastSize"] = price, size
        else:
            name = PyDict_GetItem(PRICE_NAMES, kind)
            if name == NULL:
                return 0
            values[<object>name] = price
        if price != 0 or size != 0:
            self._add_tick(slot, kind, price, size)
        self._pend(slot)
        return 1

    cdef int _bid(self, Slot *slot, int64_t kind, double price, double size) except -1:
        cdef dict values
        if slot.line != NULL:
            if size == 0:
                slot.bid, slot.bid_size = self._no_price_value, self._no_size_value
                self._mark(slot, BID | BID_SIZE | NO_BID | NO_BID_SIZE)
            else:
                slot.bid, slot.bid_size = price, size
                self._mark(slot, BID | BID_SIZE)
                slot.dirty &= ~(NO_BID | NO_BID_SIZE)
            return 1
        values = <dict>slot.values
        new_price, new_size = (self._no_price, self._no_size) if size == 0 else (price, size)
        values["prevBid"], values["prevBidSize"] = values["bid"], values["bidSize"]
        values["bid"], values["bidSize"] = new_price, new_size
        if size != 0 or self._empty_counts:
            self._add_tick(slot, kind, new_price, new_size)
        self._pend(slot)
        return 1

    cdef int _ask(self, Slot *slot, int64_t kind, double price, double size) except -1:
        cdef dict values
        if slot.line != NULL:
            if size == 0:
                slot.ask, slot.ask_size = self._no_price_value, self._no_size_value
                self._mark(slot, ASK | ASK_SIZE | NO_ASK | NO_ASK_SIZE)
            else:
                slot.ask, slot.ask_size = price, size
                self._mark(slot, ASK | ASK_SIZE)
                slot.dirty &= ~(NO_ASK | NO_ASK_SIZE)
            return 1
        values = <dict>slot.values
        new_price, new_size = (self._no_price, self._no_size) if size == 0 else (price, size)
        values["prevAsk"], values["prevAskSize"] = values["ask"], values["askSize"]
        values["ask"], values["askSize"] = new_price, new_size
        if size != 0 or self._empty_counts:
            self._add_tick(slot, kind, new_price, new_size)
        self._pend(slot)
        return 1

    cdef int _size(self, const char *p, const char *end) except -1:
        cdef int64_t request, kind
        cdef double size
        cdef Slot *slot
        cdef PyObject *name
        if not (
            skip_field(&p, end)
            and read_integer(&p, end, &request)
            and read_integer(&p, end, &kind)
            and read_number(&p, end, &size)
            and p == end
        ):
            return 0
        slot = self._slot(request)
        if slot == NULL:
            return 0
        if slot.line != NULL and self._line_size(slot, kind, size):
            return 1
        if kind == 0 or kind == 69:
            return self._side_size(slot, kind, size, "bid", "bidSize", "prevBidSize")
        if kind == 3 or kind == 70:
            return self._side_size(slot, kind, size, "ask", "askSize", "prevAskSize")
        if kind == 5 or kind == 71:
            return self._last_size(slot, kind, size)
        name = PyDict_GetItem(SIZE_NAMES, kind)
        if name == NULL:
            return 0
        new_size = size
        (<dict>slot.values)[<object>name] = new_size
        if size != 0 or self._no_price:
            self._add_tick(slot, kind, self._no_price, new_size)
        self._pend(slot)
        return 1

    cdef int _line_size(self, Slot *slot, int64_t kind, double size) except -1:
        """A size of a line that has a place in the slot; 0 for the other types."""
        if kind == 0 or kind == 69:
            if size == slot.bid_size:
                return 1
            if size == 0:
                slot.bid, slot.bid_size = self._no_price_value, self._no_size_value
                self._mark(slot, BID | BID_SIZE | NO_BID | NO_BID_SIZE)
            else:
                slot.bid_size = size
                self._mark(slot, BID_SIZE)
                slot.dirty &= ~NO_BID_SIZE
        elif kind == 3 or kind == 70:
            if size == slot.ask_size:
                return 1
            if size == 0:
                slot.ask, slot.ask_size = self._no_price_value, self._no_size_value
                self._mark(slot, ASK | ASK_SIZE | NO_ASK | NO_ASK_SIZE)
            else:
                slot.ask_size = size
                self._mark(slot, ASK_SIZE)
                slot.dirty &= ~NO_ASK_SIZE
        elif kind == 5 or kind == 71:
            if slot.last != slot.last:
                return 1
            slot.last_size = size
            self._mark(slot, LAST_SIZE)
        elif kind == 8 or kind == 74:
            slot.volume = size
            self._mark(slot, VOLUME)
        else:
            return 0
        return 1

    cdef int _side_size(
        self, Slot *slot, int64_t kind, double size, str price_name, str size_name, str former_name
    ) except -1:
        cdef dict values = <dict>slot.values
        new_size, former, price = size, values[size_name], self._no_price
        if new_size == former:
            return 1
        values[former_name] = former
        if size == 0:
            values[price_name], values[size_name] = self._no_price, self._no_size
        else:
            price = values[price_name]
            values[size_name] = new_size
        if size != 0 or price:
            self._add_tick(slot, kind, price, new_size)
        self._pend(slot)
        return 1

    cdef int _last_size(self, Slot *slot, int64_t kind, double size) except -1:
        cdef dict values = <dict>slot.values
        new_size, price = size, values["last"]
        if self._nan_is_unset and values["defaults"] is self._defaults:
            if price != price:
                return 1
        elif (<object>slot.ticker).isUnset(price):
            return 1
        if new_size != values["lastSize"]:
            values["prevLastSize"] = values["lastSize"]
            values["lastSize"] = new_size
        if size != 0 or price:
            self._add_tick(slot, kind, price, new_size)
        self._pend(slot)
        return 1

    cdef int _generic(self, const char *p, const char *end) except -1:
        cdef int64_t request, kind
        cdef double value
        cdef Slot *slot
        cdef PyObject *name
        if not (
            skip_field(&p, end)
            and read_integer(&p, end, &request)
            and read_integer(&p, end, &kind)
            and read_number(&p, end, &value)
            and p == end
        ):
            return 0
        name = PyDict_GetItem(GENERIC_NAMES, kind)
        if name == NULL:
            return 0
        slot = self._slot(request)
        if slot == NULL:
            return 0
        new_value = value if value > 0 else self._no_size
        (<dict>slot.values)[<object>name] = new_value
        self._add_tick(slot, kind, new_value, ZERO)
        self._pend(slot)
        return 1

    cdef int _string(self, const char *p, const char *end) except -1:
        cdef int64_t request, kind
        cdef Slot *slot
        cdef PyObject *name
        if not (
            count_fields(p, end) == 4
            and skip_field(&p, end)
            and read_integer(&p, end, &request)
            and read_integer(&p, end, &kind)
        ):
            return 0
        slot = self._slot(request)
        if slot == NULL:
            return 0
        name = PyDict_GetItem(STRING_NAMES, kind)
        if name != NULL:
            (<dict>slot.values)[<object>name] = read_text(&p, end)
            self._pend(slot)
        elif kind in TIMESTAMPS:
            self._wrapper.tickString(request, kind, read_text(&p, end))
        else:
            return 0
        return 1

    cdef int _tick_by_tick(self, const char *p, const char *end) except -1:
        cdef int64_t request, kind, time, mask
        cdef double first, second
        cdef Slot *slot
        cdef dict values
        cdef int fields = count_fields(p, end)
        if not (
            read_integer(&p, end, &request)
            and read_integer(&p, end, &kind)
            and read_integer(&p, end, &time)
            and read_number(&p, end, &first)
        ):
            return 0
        slot = self._slot(request)
        # a line's values are kept by its slot; no gateway sends these for its request
        if slot == NULL or slot.line != NULL:
            return 0
        if kind == 4:
            if fields != 4:
                return 0
            tick = allocate_tuple(TickByTickMidPoint, 2)
            fill_tuple(tick, 0, self._time())
            fill_tuple(tick, 1, first)
            self._add_tick_by_tick(slot, tick)
            return 1
        if fields != 8 or not read_number(&p, end, &second):
            return 0
        if kind == 3:
            return self._bid_ask(slot, p, end, first, second)
        if kind != 1 and kind != 2 or not read_integer(&p, end, &mask):
            return 0
        price, size = first, second
        if first == -1 and second == 0:
            price, size = self._no_price, self._no_size
        values = <dict>slot.values
        values["prevLast"], values["prevLastSize"] = values["last"], values["lastSize"]
        values["last"], values["lastSize"] = price, size
        tick = allocate_tuple(TickByTickAllLast, 7)
        fill_tuple(tick, 0, kind)
        fill_tuple(tick, 1, self._time())
        fill_tuple(tick, 2, price)
        fill_tuple(tick, 3, size)
        fill_tuple(tick, 4, TickAttribLast((mask & 1) != 0, (mask & 2) != 0))
        fill_tuple(tick, 5, read_text(&p, end))
        fill_tuple(tick, 6, read_text(&p, end))
        self._add_tick_by_tick(slot, tick)
        return 1

    cdef int _bid_ask(self, Slot *slot, const char *p, const char *end, double bid, double ask) except -1:
        cdef double bid_size, ask_size
        cdef int64_t mask
        if not (
            read_number(&p, end, &bid_size)
            and read_number(&p, end, &ask_size)
            and read_integer(&p, end, &mask)
            and p == end
        ):
            return 0
        self._side(slot, bid, "bid", "prevBid", self._no_price)
        self._side(slot, bid_size, "bidSize", "prevBidSize", self._no_size)
        self._side(slot, ask, "ask", "prevAsk", self._no_price)
        self._side(slot, ask_size, "askSize", "prevAskSize", self._no_size)
        tick = allocate_tuple(TickByTickBidAsk, 6)
        fill_tuple(tick, 0, self._time())
        fill_tuple(tick, 1, bid)
        fill_tuple(tick, 2, ask)
        fill_tuple(tick, 3, bid_size)
        fill_tuple(tick, 4, ask_size)
        fill_tuple(tick, 5, TickAttribBidAsk((mask & 1) != 0, (mask & 2) != 0))
        self._add_tick_by_tick(slot, tick)
        return 1

    cdef int _side(self, Slot *slot, double value, str name, str former_name, object empty) except -1:
        cdef dict values = <dict>slot.values
        new_value, former = value, values[name]
        if new_value != former:
            values[former_name] = former
            values[name] = new_value if value > 0 else empty
        return 0

    cdef int _add_tick_by_tick(self, Slot *slot, object tick) except -1:
        (<dict>slot.values)["tickByTicks"].append(tick)
        return self._pend(slot)

    cdef int _depth(self, const char *p, const char *end, bint has_maker) except -1:
        cdef int64_t request, place, operation, side, smart
        cdef double price, size
        cdef Slot *slot
        cdef dict values, book
        maker = ""
        if count_fields(p, end) != (9 if has_maker else 7) or not (
            skip_field(&p, end) and read_integer(&p, end, &request) and read_integer(&p, end, &place)
        ):
            return 0
        if has_maker:
            maker = read_text(&p, end)
        if not (
            read_integer(&p, end, &operation)
            and read_integer(&p, end, &side)
            and read_number(&p, end, &price)
            and read_number(&p, end, &size)
            and (not has_maker or read_integer(&p, end, &smart))
            and p == end
            and operation <= 2
        ):
            return 0
        slot = self._slot(request)
        if slot == NULL:
            return 0
        values = <dict>slot.values
        book = values["domBidsDict"] if side else values["domAsksDict"]
        new_price, new_size, number = price, size, place
        if operation == 2:
            new_size = ZERO
            level = book.pop(number, None)
            if level is not None:
                new_price = level.price
        else:
            level = allocate_tuple(DOMLevel, 3)
            fill_tuple(level, 0, new_price)
            fill_tuple(level, 1, new_size)
            fill_tuple(level, 2, maker)
            book[number] = level
        values["domBids" if side else "domAsks"] = list(book.values())
        tick = allocate_tuple(MktDepthData, 7)
        fill_tuple(tick, 0, self._time())
        fill_tuple(tick, 1, number)
        fill_tuple(tick, 2, maker)
        fill_tuple(tick, 3, operation)
        fill_tuple(tick, 4, side)
        fill_tuple(tick, 5, new_price)
        fill_tuple(tick, 6, new_size)
        values["domTicks"].append(tick)
        self._pend(slot)
        return 1


cdef tuple QUOTE_SLOTS = tuple(Quote.__dict__[name] for name in (
    "instrument", "time", "source", "suspect", "polled", "data_type", "halted",
    "bid", "ask", "last", "open", "high", "low", "close",
    "bid_size", "ask_size", "last_size", "volume",
))
cdef dict KINDS_OF_DATA = dict(DATA_TYPES)
cdef object LIVE = DataType.LIVE


cdef inline object price_or_none(object value):
    cdef double number
    if type(value) is float:
        number = value
        return value if 0 < number < UNSET else None
    return value if value is not None and 0 < value < UNSET else None


cdef inline object size_or_none(object value):
    cdef double number
    if type(value) is float:
        number = value
        return value if 0 <= number < UNSET and number != UNSET_SIZE else None
    return value if value is not None and 0 <= value < UNSET and value != UNSET_SIZE else None


def to_quote(ticker, instrument, time, source):
    """See `market_values.to_quote`. A frozen dataclass is filled by way of its slots."""
    cdef tuple slots = QUOTE_SLOTS
    cdef dict values = ticker.__dict__
    quote = allocate_tuple(Quote, 0)
    set_slot(slots[0], quote, instrument)
    set_slot(slots[1], quote, time)
    set_slot(slots[2], quote, source)
    set_slot(slots[3], quote, None)
    set_slot(slots[4], quote, False)
    set_slot(slots[5], quote, KINDS_OF_DATA.get(values["marketDataType"], LIVE))
    halted = values["halted"]
    set_slot(slots[6], quote, to_halted(halted) if halted == halted else None)
    set_slot(slots[7], quote, price_or_none(values["bid"]))
    set_slot(slots[8], quote, price_or_none(values["ask"]))
    set_slot(slots[9], quote, price_or_none(values["last"]))
    set_slot(slots[10], quote, price_or_none(values["open"]))
    set_slot(slots[11], quote, price_or_none(values["high"]))
    set_slot(slots[12], quote, price_or_none(values["low"]))
    set_slot(slots[13], quote, price_or_none(values["close"]))
    set_slot(slots[14], quote, size_or_none(values["bidSize"]))
    set_slot(slots[15], quote, size_or_none(values["askSize"]))
    set_slot(slots[16], quote, size_or_none(values["lastSize"]))
    set_slot(slots[17], quote, size_or_none(values["volume"]))
    return quote
