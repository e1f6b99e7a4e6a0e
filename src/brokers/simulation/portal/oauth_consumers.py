"""OAuth consumers of the portal door: what IB keeps of a registration, and the making of a whole key set for paper.

A folder of one has `client/` (what a user of IB holds, named as IB's instructions name it) and `door/` (what IB holds).
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import string
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)

from ...errors import ConfigurationError

CLIENT, DOOR = "client", "door"
RECORD = "consumer.json"

#: The 2048-bit MODP group of RFC 3526 section 3: making a safe prime of one's own takes minutes.
PRIME = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD"
    "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F"
    "83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B"
    "E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510"
    "15728E5A8AACAA68FFFFFFFFFFFFFFFF",
    16,
)
GENERATOR = 2


@dataclass(frozen=True, slots=True, eq=False)
class Consumer:
    """`user` is whom it logs in, `secret` the access token secret in clear, `signature_key` verifies its requests for
    a token."""

    consumer_key: str
    access_token: str
    user: str
    signature_key: rsa.RSAPublicKey = field(repr=False)
    secret: bytes = field(repr=False)
    prime: int = field(default=PRIME, repr=False)
    generator: int = GENERATOR

    @property
    def realm(self) -> str:
        return "test_realm" if self.consumer_key == "TESTCONS" else "limited_poa"

    @classmethod
    def read(cls, folder: Path) -> Consumer:
        """From the `door` folder of a key set. Raises ConfigurationError when a part is missing or damaged."""
        door = folder / DOOR
        try:
            record = json.loads((door / RECORD).read_bytes())
            key = load_pem_public_key((door / "public_signature.pem").read_bytes())
            consumer_key, access_token, user = (str(record[name]) for name in ("consumer_key", "access_token", "user"))
            secret = bytes.fromhex(record["secret"])
            prime, generator = int(record["prime"], 16), int(record["generator"])
        except OSError as error:
            raise ConfigurationError(f"the OAuth consumer in {folder}", f"{error.strerror}: {error.filename}") from None
        except (ValueError, KeyError, TypeError):
            raise ConfigurationError(f"the OAuth consumer in {folder}", "a file of it is damaged") from None
        if not isinstance(key, rsa.RSAPublicKey):
            raise ConfigurationError(f"the OAuth consumer in {folder}", "its signature key is not RSA")
        return cls(consumer_key, access_token, user, key, secret, prime, generator)


def write_consumer(folder: Path, user: str) -> Consumer:
    """Makes a key set for a new paper consumer, writes it for both sides and returns the door's; what stands in
    `folder` already is overwritten."""
    signature = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    encryption = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    key = "PAPER" + "".join(secrets.choice(string.ascii_uppercase) for _ in range(4))
    consumer = Consumer(key, secrets.token_hex(10), user, signature.public_key(), secrets.token_bytes(32))
    names = {"consumer_key": consumer.consumer_key, "access_token": consumer.access_token}
    encrypted = encryption.public_key().encrypt(consumer.secret, padding.PKCS1v15())
    shared = {
        "public_signature.pem": _public(signature),
        "public_encryption.pem": _public(encryption),
    }
    client = {
        "dhparam.pem": _dh_parameters(PRIME, GENERATOR),
        "private_signature.pem": _private(signature),
        "private_encryption.pem": _private(encryption),
        "oauth.json": _json(names | {"access_token_secret": base64.b64encode(encrypted).decode()}),
    }
    group = {"prime": f"{PRIME:x}", "generator": str(GENERATOR)}
    door = {RECORD: _json(names | {"user": user, "secret": consumer.secret.hex()} | group)}
    for side, files in ((CLIENT, shared | client), (DOOR, shared | door)):
        (folder / side).mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            _write(folder / side / name, content)
    return consumer


def consumer_in(folder: Path, user: str) -> Consumer:
    """The consumer of `folder`; a new one for `user` where there is none yet."""
    return Consumer.read(folder) if (folder / DOOR / RECORD).exists() else write_consumer(folder, user)


def _write(path: Path, content: bytes) -> None:
    """Readable by its owner only, from its first byte."""
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)


def _json(values: dict[str, str]) -> bytes:
    return json.dumps(values, indent=2).encode() + b"\n"


def _dh_parameters(prime: int, generator: int) -> bytes:
    """As `openssl dhparam` writes them (PKCS #3 section 9)."""
    integers = b"".join(
        _der(0x02, number.to_bytes(number.bit_length() // 8 + 1, "big")) for number in (prime, generator)
    )
    text = base64.b64encode(_der(0x30, integers)).decode()
    lines = "\n".join(text[start : start + 64] for start in range(0, len(text), 64))
    return f"-----BEGIN DH PARAMETERS-----\n{lines}\n-----END DH PARAMETERS-----\n".encode()


def _der(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(size))) + size + content


def _private(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def _public(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
