"""What a registered consumer holds: its keys, its access token and the Diffie-Hellman parameters (docs/oauth.md)."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from ...errors import ConfigurationError
from .oauth_signature import Reading

#: IB's consumer for trying things out; it has a realm of its own.
TEST_CONSUMER = "TESTCONS"

SIGNATURE_FILE = "private_signature.pem"
ENCRYPTION_FILE = "private_encryption.pem"
DH_FILE = "dhparam.pem"
TOKENS_FILE = "oauth.json"

_DH_PEM = re.compile(rb"-----BEGIN DH PARAMETERS-----(.*?)-----END DH PARAMETERS-----", re.DOTALL)
#: DER tags.
_INTEGER, _SEQUENCE = 0x02, 0x30


@dataclass(frozen=True, slots=True, eq=False)
class OAuthCredentials:
    """`secret` is the access token secret, already decrypted. `prime` and `generator` are those of the registered
    dhparam.pem. Nothing secret is shown by repr, and no error carries any.

    Raises ConfigurationError when a part is missing, unreadable or of the wrong kind.
    """

    consumer_key: str
    access_token: str = field(repr=False)
    secret: bytes = field(repr=False)
    signature_key: rsa.RSAPrivateKey = field(repr=False)
    prime: int = field(repr=False)
    generator: int = 2
    reading: Reading = Reading.WITHOUT_QUERY

    def __post_init__(self) -> None:
        for name in ("consumer_key", "access_token", "secret"):
            if not getattr(self, name):
                raise ConfigurationError("the OAuth credentials", f"{name} is empty", "generate the tokens again")
        if self.prime < 5 or self.prime % 2 == 0 or not 1 < self.generator < self.prime - 1:
            raise ConfigurationError(
                "the OAuth credentials", "the Diffie-Hellman parameters cannot be", f"see {DH_FILE}"
            )

    @property
    def realm(self) -> str:
        return "test_realm" if self.consumer_key == TEST_CONSUMER else "limited_poa"

    @classmethod
    def from_files(
        cls,
        consumer_key: str,
        access_token: str,
        access_token_secret: str,
        *,
        signature_key: Path,
        encryption_key: Path,
        dh_parameters: Path,
        reading: Reading = Reading.WITHOUT_QUERY,
    ) -> OAuthCredentials:
        """`access_token_secret` is the base64 text that IB shows once, encrypted to the consumer's encryption key."""
        prime, generator = _dh_parameters(dh_parameters)
        return cls(
            consumer_key=consumer_key,
            access_token=access_token,
            secret=_decrypted(access_token_secret, _private_key(encryption_key), encryption_key),
            signature_key=_private_key(signature_key),
            prime=prime,
            generator=generator,
            reading=reading,
        )

    @classmethod
    def from_folder(cls, folder: Path) -> OAuthCredentials:
        """A folder with the files as IB's instructions name them, and `oauth.json`: an object with consumer_key,
        access_token, access_token_secret, and reading where it is not "without_query"."""
        path = folder / TOKENS_FILE
        try:
            tokens = json.loads(_read(path))
            reading = Reading(tokens.get("reading", Reading.WITHOUT_QUERY))
            texts = [str(tokens[name]) for name in ("consumer_key", "access_token", "access_token_secret")]
        except (ValueError, KeyError, AttributeError):
            raise ConfigurationError(
                f"{path}", "it is no JSON object with consumer_key, access_token and access_token_secret"
            ) from None
        return cls.from_files(
            *texts,
            signature_key=folder / SIGNATURE_FILE,
            encryption_key=folder / ENCRYPTION_FILE,
            dh_parameters=folder / DH_FILE,
            reading=reading,
        )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path}", f"it cannot be read ({error.strerror})") from None


def _private_key(path: Path) -> rsa.RSAPrivateKey:
    try:
        key = load_pem_private_key(_read(path), password=None)
    except (ValueError, TypeError):
        raise ConfigurationError(f"{path}", "it holds no unencrypted private key in PEM") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ConfigurationError(f"{path}", "its key is not RSA")
    return key


def _dh_parameters(path: Path) -> tuple[int, int]:
    """(prime, generator) of `openssl dhparam`'s PEM: a DER sequence of two integers or three (PKCS #3 section 9).
    cryptography read it, but is to drop Diffie-Hellman over finite fields."""
    found = _DH_PEM.search(_read(path))
    try:
        tag, content, rest = _element(base64.b64decode(b"".join(found[1].split()), validate=True) if found else b"")
        integers = []
        while content:
            inner, number, content = _element(content)
            integers.append(int.from_bytes(number, "big", signed=True) if inner == _INTEGER else 0)
        if tag != _SEQUENCE or rest or len(integers) not in (2, 3):
            raise ValueError
    except (ValueError, IndexError):
        raise ConfigurationError(f"{path}", "it holds no Diffie-Hellman parameters in PEM") from None
    return integers[0], integers[1]


def _element(der: bytes) -> tuple[int, bytes, bytes]:
    """(tag, content, what follows) of the first element. Raises IndexError or ValueError when it is cut short."""
    length, start = der[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(der[2:start], "big")
    if start + length > len(der):
        raise ValueError
    return der[0], der[start : start + length], der[start + length :]


def _decrypted(secret: str, key: rsa.RSAPrivateKey, path: Path) -> bytes:
    try:
        return key.decrypt(base64.b64decode(secret, validate=True), padding.PKCS1v15())
    except ValueError:
        raise ConfigurationError(
            "the OAuth access token secret", f"{path.name} does not decrypt it", "both must be of one registration"
        ) from None
