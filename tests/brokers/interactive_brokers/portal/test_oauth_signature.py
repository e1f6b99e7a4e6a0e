"""The text that OAuth 1.0a signs, against the RFC's own example and against oauthlib, which we did not write."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.oauth_signature import (
    Reading,
    authorization,
    base_string,
)
from oauthlib.oauth1.rfc5849 import signature as witness
from oauthlib.oauth1.rfc5849.utils import parse_authorization_header

URL = "https://api.ibkr.com/v1/api/iserver/marketdata/snapshot"
NAMES = st.text(min_size=1, max_size=12)
PAIRS = st.lists(st.tuples(NAMES, st.text(max_size=20)), max_size=8)


def test_the_example_of_rfc_5849_section_3_4_1() -> None:
    pairs = [
        ("b5", "=%3D"),
        ("a3", "a"),
        ("c@", ""),
        ("a2", "r b"),
        ("oauth_consumer_key", "9djdj82h48djs9d2"),
        ("oauth_token", "kkk9d7dh3k39sjv7"),
        ("oauth_signature_method", "HMAC-SHA1"),
        ("oauth_timestamp", "137131201"),
        ("oauth_nonce", "7d8f3e4a"),
        ("c2", ""),
        ("a3", "2 q"),
    ]
    assert base_string("POST", "http://example.com/request", pairs, (), Reading.RFC5849) == (
        "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26b5%3D%253D%25253D%26c%2540%3D"
        "%26c2%3D%26oauth_consumer_key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3e4a%26oauth_signature_method%3DHMAC-SHA1"
        "%26oauth_timestamp%3D137131201%26oauth_token%3Dkkk9d7dh3k39sjv7"
    )


@given(PAIRS)
def test_rfc_5849_agrees_with_oauthlib(pairs: list[tuple[str, str]]) -> None:
    expected = witness.signature_base_string("GET", witness.base_string_uri(URL), witness.normalize_parameters(pairs))
    assert base_string("get", URL, pairs, (), Reading.RFC5849) == expected


@given(PAIRS)
def test_the_order_of_parameters_changes_nothing(pairs: list[tuple[str, str]]) -> None:
    for reading in Reading:
        text = base_string("GET", URL, pairs, pairs, reading)
        assert text == base_string("GET", URL, pairs[::-1], pairs[::-1], reading)


def test_the_three_readings_of_a_query() -> None:
    own, query = [("oauth_nonce", "n1")], [("fields", "31,84"), ("text", "a b")]
    ends = {reading: base_string("GET", URL, own, query, reading).rpartition("snapshot&")[2] for reading in Reading}
    assert ends == {
        Reading.WITHOUT_QUERY: "oauth_nonce%3Dn1",
        Reading.ONCE: "fields%3D31%2C84%26oauth_nonce%3Dn1%26text%3Da+b",
        Reading.RFC5849: "fields%3D31%252C84%26oauth_nonce%3Dn1%26text%3Da%2520b",
    }


@given(st.dictionaries(st.from_regex(r"oauth_[a-z]{1,8}", fullmatch=True), st.text(max_size=20), min_size=1))
def test_the_header_is_read_back_by_oauthlib(parameters: dict[str, str]) -> None:
    header = authorization("limited_poa", parameters)
    read = dict(parse_authorization_header(header))
    assert read.pop("realm") == "limited_poa"
    assert {name: witness.utils.unescape(value) for name, value in read.items()} == parameters
