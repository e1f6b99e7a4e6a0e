"""Which reader is chosen: the compiled one where it was built, the pure one by setting."""

from __future__ import annotations

import pytest
from moondev_ibkr.brokers.errors import ConfigurationError
from moondev_ibkr.brokers.interactive_brokers.config.ib_config import TwsSettings
from moondev_ibkr.brokers.interactive_brokers.ib_async_client import IbAsyncClient, fast_frames
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.fast_frames import (
    CompiledFrameReader,
    decoder_in_use,
    quote_maker,
    reader_class,
    row_writer,
)
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.frames import FrameReader
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.market_values import to_quote
from moondev_ibkr.config.settings import TickDecoder, load_settings

WHY = "the extension fast_ticks was not built"


def test_without_a_build_auto_is_pure_and_compiled_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_frames, "WHY_NOT_COMPILED", WHY)
    assert reader_class() is FrameReader
    assert decoder_in_use() == f"pure: {WHY}"
    assert row_writer(None, None, None, 0) is None
    assert quote_maker() is to_quote
    with pytest.raises(ConfigurationError, match=f"IB_TICK_DECODER=compiled: {WHY}"):
        IbAsyncClient(TwsSettings(tick_decoder=TickDecoder.COMPILED))


def test_with_a_build_auto_is_compiled_and_pure_may_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_frames, "WHY_NOT_COMPILED", "")
    assert reader_class() is reader_class(TickDecoder.COMPILED) is CompiledFrameReader
    assert decoder_in_use() == "compiled"
    assert reader_class(TickDecoder.PURE) is FrameReader
    assert decoder_in_use(TickDecoder.PURE) == "pure, as set"
    assert quote_maker(TickDecoder.PURE) is to_quote


def test_the_environment_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IB_TICK_DECODER", "Pure")
    settings = TwsSettings.from_settings(load_settings())
    assert IbAsyncClient(settings)._api.client._reader_class is FrameReader


@pytest.mark.skipif(bool(fast_frames.WHY_NOT_COMPILED), reason="the extension was not built here")
def test_quotes_are_made_by_the_build_that_decodes() -> None:
    assert quote_maker() is fast_frames.fast_ticks.to_quote
    assert IbAsyncClient(TwsSettings())._market._quote_of is quote_maker()
