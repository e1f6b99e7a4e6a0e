"""Credentials from the files that IB's instructions make, and what is said when one of them is not right."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from moondev_ibkr.brokers.errors import ConfigurationError
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client import oauth_signature
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.oauth_credentials import OAuthCredentials

#: Made by `openssl dhparam 512`, and its prime as `openssl dhparam -text` prints it.
DH_PEM = """-----BEGIN DH PARAMETERS-----
MEYCQQD7QW7FlYe/FUizpcNXHjct1+0VD33BcaDk5TIELgSh2KPHzQwI2SbtgWIN
aVKRqpFGlrpY+8KHET+aDlAgi4A/AgEC
-----END DH PARAMETERS-----
"""
PRIME = (
    "fb416ec59587bf1548b3a5c3571e372dd7ed150f7dc171a0e4e532042e04a1d8"
    "a3c7cd0c08d926ed81620d695291aa914696ba58fbc287113f9a0e50208b803f"
)
SECRET = b"\x00the access token secret\xff"
SIGNATURE = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ENCRYPTION = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "private_signature.pem").write_bytes(pem(SIGNATURE))
    (tmp_path / "private_encryption.pem").write_bytes(pem(ENCRYPTION))
    (tmp_path / "dhparam.pem").write_text(DH_PEM)
    tokens(tmp_path)
    return tmp_path


def tokens(folder: Path, **changes: str) -> None:
    encrypted = ENCRYPTION.public_key().encrypt(SECRET, padding.PKCS1v15())
    values = {
        "consumer_key": "PAPERTEST",
        "access_token": "a1b2c3d4e5",
        "access_token_secret": base64.b64encode(encrypted).decode(),
    }
    (folder / "oauth.json").write_text(json.dumps(values | changes))


def test_a_folder_is_read_whole(folder: Path) -> None:
    read = OAuthCredentials.from_folder(folder)
    assert (read.consumer_key, read.access_token, read.secret) == ("PAPERTEST", "a1b2c3d4e5", SECRET)
    assert (read.prime, read.generator) == (int(PRIME, 16), 2)
    assert read.signature_key.private_numbers() == SIGNATURE.private_numbers()
    assert (read.reading, read.realm) == (oauth_signature.Reading.WITHOUT_QUERY, "limited_poa")


def test_the_folder_may_ask_for_the_reading_of_the_rfc(folder: Path) -> None:
    tokens(folder, reading="rfc5849")
    assert OAuthCredentials.from_folder(folder).reading is oauth_signature.Reading.RFC5849


def cut_short(path: Path) -> None:
    der = base64.b64decode("".join(DH_PEM.splitlines()[1:-1]))[:-4]
    path.write_text(f"-----BEGIN DH PARAMETERS-----\n{base64.b64encode(der).decode()}\n-----END DH PARAMETERS-----\n")


#: File, what happens to it, what the error says.
DAMAGES: list[tuple[str, Callable[[Path], object], str]] = [
    ("private_signature.pem", Path.unlink, "cannot be read"),
    ("private_signature.pem", lambda path: path.write_text("no key"), "no unencrypted private key"),
    ("private_signature.pem", lambda path: path.write_bytes(pem(ec.generate_private_key(ec.SECP256R1()))), "not RSA"),
    ("private_encryption.pem", Path.unlink, "cannot be read"),
    ("dhparam.pem", Path.unlink, "cannot be read"),
    ("dhparam.pem", lambda path: path.write_text("no parameters"), "no Diffie-Hellman"),
    ("dhparam.pem", cut_short, "no Diffie-Hellman"),
    ("dhparam.pem", lambda path: path.write_text(DH_PEM.replace("MEYC", "MEYD")), "no Diffie-Hellman|cannot be"),
    ("oauth.json", Path.unlink, "cannot be read"),
    ("oauth.json", lambda path: path.write_text("[]"), "no JSON object"),
    ("oauth.json", lambda path: path.write_text('{"consumer_key": "A"}'), "no JSON object"),
    ("oauth.json", lambda path: tokens(path.parent, access_token_secret="not base64"), "does not decrypt"),
    ("oauth.json", lambda path: tokens(path.parent, access_token_secret="AAAA"), "does not decrypt"),
    ("oauth.json", lambda path: tokens(path.parent, consumer_key=""), "consumer_key is empty"),
    ("oauth.json", lambda path: tokens(path.parent, reading="twice"), "no JSON object"),
]


@pytest.mark.parametrize(("name", "damage", "says"), DAMAGES)
def test_a_damaged_file_is_named(folder: Path, name: str, damage: Callable[[Path], object], says: str) -> None:
    damage(folder / name)
    with pytest.raises(ConfigurationError, match=says) as caught:
        OAuthCredentials.from_folder(folder)
    shown = f"{caught.value!r} {caught.value.__cause__!r}"
    assert SECRET.hex() not in shown
    assert "a1b2c3d4e5" not in shown


def test_diffie_hellman_parameters_that_cannot_be_are_refused() -> None:
    for prime, generator in ((0, 2), (4, 2), (23, 1), (23, 22), (int(PRIME, 16) - 1, 2)):
        with pytest.raises(ConfigurationError, match="Diffie-Hellman"):
            OAuthCredentials("PAPERTEST", "token", SECRET, SIGNATURE, prime, generator)
