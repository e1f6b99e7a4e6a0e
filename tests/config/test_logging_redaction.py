"""Secrets never reach a log line: known values, things that look like secrets, tracebacks and extras (row R3)."""

from __future__ import annotations

import io
import json
import logging
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moondev_ibkr.config.logging import MASK, Redactor, setup_logging
from moondev_ibkr.config.settings import load_settings


@pytest.fixture
def lines(monkeypatch):
    """Set logging up with the given settings; answers the stream."""
    for name in list(os.environ):
        if name.upper().startswith(("IB_", "IBKR_")):
            monkeypatch.delenv(name)
    names = ("moondev_ibkr", "ib_async", "aiohttp", "urllib3", "websocket", "eventkit")
    before = {name: (logging.getLogger(name).propagate, logging.getLogger(name).level) for name in names}
    handlers = []
    # Handlers that are there already, pytest's own for loggers that do not propagate among them, would see a record
    # before ours does.
    foreign = {name: list(logging.getLogger(name).handlers) for name in names}
    for name, rows in foreign.items():
        logging.getLogger(name).propagate = True
        for row in rows:
            logging.getLogger(name).removeHandler(row)

    def start(**settings):
        stream = io.StringIO()
        handlers.append(setup_logging(load_settings(**settings), stream))
        return stream

    yield start
    for name, (propagate, level) in before.items():
        logger = logging.getLogger(name)
        for handler in handlers:
            logger.removeHandler(handler)
        for row in foreign[name]:
            logger.addHandler(row)
        logger.propagate = propagate
        logger.setLevel(level)


log = logging.getLogger("moondev_ibkr.test")


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer abcDEF123456.secretpart",
        "headers={'Authorization': 'Basic dXNlcjpzZWNyZXRwYXJ0'}",
        'password="hunter2 secretpart" done',
        "TWS_PASSWORD=secretpart",
        "api_key: secretpart",
        "{'apiKey': 'secretpart', 'x': 1}",
        "https://ann:secretpart@example.com/path",
        "GET /v1?access_token=secretpart&x=1",
        "oauth_signature=secretpart",
        "-----BEGIN RSA PRIVATE KEY-----\nsecretpart\n-----END RSA PRIVATE KEY-----",
        "key sk-ant-REDACTED was refused",
        "session_id=secretpart",
        "Cookie: secretpart",
    ],
)
def test_what_looks_like_a_secret_is_masked(text):
    cleaned = Redactor()(text)
    assert "secretpart" not in cleaned
    assert "dXNlcjpzZWNyZXRwYXJ0" not in cleaned
    assert MASK in cleaned


@pytest.mark.parametrize(
    "text",
    [
        "BUY 10 AAPL LMT at 100.02 filled, key 3f2a9c",
        "order key abc-1 is UNKNOWN",
        "connected to 127.0.0.1:4002 as client 1",
        "https://example.com:8080/path@2",
        "the token bucket holds 50 messages",
    ],
)
def test_ordinary_lines_stay_as_they_are(text):
    assert Redactor()(text) == text


@given(st.text(min_size=6, max_size=40), st.text(max_size=60), st.text(max_size=60))
def test_a_known_secret_is_masked_wherever_it_stands(secret, before, after):
    cleaned = Redactor([secret])(before + secret + after)
    assert MASK in cleaned
    if secret not in MASK and MASK not in secret and secret not in before + after:
        assert secret not in cleaned.replace(MASK, "\0")


def test_secrets_of_settings_and_environment_never_reach_a_line(lines, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "env-s3cr3t-value")
    stream = lines(secrets={"oauth": "set-s3cr3t-value"})
    log.warning("refused set-s3cr3t-value and %s", "env-s3cr3t-value")
    assert "s3cr3t" not in stream.getvalue()
    assert stream.getvalue().count(MASK) == 2


def test_tracebacks_are_redacted(lines):
    stream = lines(secrets={"oauth": "set-s3cr3t-value"})
    try:
        raise ValueError("bad answer to set-s3cr3t-value with password=hunter2hunter2")
    except ValueError:
        log.exception("request failed")
    text = stream.getvalue()
    assert "ValueError: bad answer" in text
    assert "s3cr3t" not in text
    assert "hunter2" not in text


def test_json_lines_hold_extras_and_no_secret(lines):
    stream = lines(log_format="json", secrets={"oauth": "set-s3cr3t-value"})
    log.info("placed %s", "AAPL", extra={"order": "abc", "header": "set-s3cr3t-value", "quantity": 10})
    try:
        raise RuntimeError("token=set-s3cr3t-value")
    except RuntimeError:
        log.exception("failed\nover two lines")
    first, second = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert first["message"] == "placed AAPL"
    assert (first["order"], first["quantity"], first["header"]) == ("abc", 10, MASK)
    assert first["level"] == "INFO"
    assert first["time"].endswith("+00:00")
    assert second["message"] == "failed\nover two lines"
    assert "RuntimeError" in second["error"]
    assert "s3cr3t" not in stream.getvalue()


def test_accounts_are_masked_when_asked(lines):
    stream = lines(log_mask_accounts=True)
    log.info("account DU1234567 and U7654321")
    assert stream.getvalue().endswith(f"account DU{MASK}567 and U{MASK}321\n")
    stream = lines()
    log.info("account DU1234567")
    assert "DU1234567" in stream.getvalue()


def test_text_from_outside_cannot_forge_a_line(lines):
    stream = lines()
    log.info("news: %s", "up\n2026-01-01T00:00:00.000Z ERROR   moondev_ibkr: forged")
    assert len(stream.getvalue().splitlines()) == 1


def test_levels_and_libraries(lines):
    stream = lines(log_level="ERROR")
    log.warning("quiet")
    logging.getLogger("urllib3.connectionpool").warning("quiet")
    assert stream.getvalue() == ""
    stream = lines(log_level="INFO")
    logging.getLogger("aiohttp.access").info("quiet")
    logging.getLogger("urllib3.connectionpool").warning("https://ann:secretpart@host refused")
    assert "secretpart" not in stream.getvalue()
    assert len(stream.getvalue().splitlines()) == 1


def test_setting_up_twice_writes_once(lines):
    first = lines()
    second = lines()
    log.info("once")
    assert first.getvalue() == ""
    assert len(second.getvalue().splitlines()) == 1
    assert second.getvalue().split(" ")[0].endswith("Z")


def test_a_line_with_wrong_arguments_says_so_and_does_not_stop_the_program(lines):
    stream = lines(secrets={"oauth": "set-s3cr3t-value"})
    log.info("placed %d", "set-s3cr3t-value")
    assert f"placed %d (arguments that do not fit: ('{MASK}',))" in stream.getvalue()
