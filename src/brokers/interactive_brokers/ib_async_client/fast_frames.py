"""Which reader decodes the ticks: the compiled one where it was built, the pure one elsewhere. The one place of that
choice."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ....config.settings import TickDecoder
from ...errors import ConfigurationError
from .frames import MAX_FRAME_BYTES, FrameReader
from .market_values import QuoteMaker, to_quote

if TYPE_CHECKING:
    from .wrapper import LinkWrapper

logger = logging.getLogger(__name__)

_BUILD = "install again on a machine with a C compiler (docs/fast-path.md), or set IB_TICK_DECODER=auto"
#: What a build of these sources says that it is.
_INTERFACE = 3

try:
    from . import fast_ticks
    from .fast_ticks import INTERFACE, RowWriter, TickDispatcher
except ImportError:
    WHY_NOT_COMPILED = "the extension fast_ticks was not built"
else:
    WHY_NOT_COMPILED = "" if INTERFACE == _INTERFACE else "the extension fast_ticks was built from other sources"


class CompiledFrameReader(FrameReader):
    """A FrameReader whose ticks are decoded in C. Messages of any unusual form still go through the pure code."""

    decoder = TickDecoder.COMPILED

    def __init__(
        self,
        wrapper: LinkWrapper,
        on_message: Callable[[list[str]], None],
        on_malformed: Callable[[list[str], Exception], None],
        on_corrupt: Callable[[str], None],
        max_frame: int = MAX_FRAME_BYTES,
    ) -> None:
        super().__init__(wrapper, on_message, on_malformed, on_corrupt, max_frame)
        self._scan = TickDispatcher(self).read


def reader_class(wanted: TickDecoder = TickDecoder.AUTO) -> type[FrameReader]:
    """The reader to use. ConfigurationError when the compiled one is insisted on and not there."""
    if wanted is TickDecoder.PURE:
        return FrameReader
    if not WHY_NOT_COMPILED:
        return CompiledFrameReader
    if wanted is TickDecoder.COMPILED:
        raise ConfigurationError("IB_TICK_DECODER=compiled", WHY_NOT_COMPILED, _BUILD)
    return FrameReader


def quote_maker(wanted: TickDecoder = TickDecoder.AUTO) -> QuoteMaker:
    """What makes a line's quote of its Ticker; goes with the reader."""
    return fast_ticks.to_quote if reader_class(wanted) is CompiledFrameReader else to_quote


def decoder_in_use(wanted: TickDecoder = TickDecoder.AUTO) -> str:
    """One line for people: the decoder that `wanted` comes to here, and why not the compiled one."""
    if wanted is TickDecoder.PURE:
        return "pure, as set"
    if WHY_NOT_COMPILED:
        return f"pure: {WHY_NOT_COMPILED}"
    return "compiled"


def row_writer(cells: Any, updates: Any, changed: Any, row: int) -> object | None:
    """What the compiled reader writes a row of a table of quotes with; None where it is not there."""
    return None if WHY_NOT_COMPILED else RowWriter(cells, updates, changed, row)
