import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cloud.ingest.gateways import GatewayError, GatewayRegister, parse_public_key

PUBLIC = Ed25519PrivateKey.from_private_bytes(bytes(range(32))).public_key()  # the same in every test process
OTHER_KIND = X25519PrivateKey.from_private_bytes(bytes(32)).public_key()
RAW = PUBLIC.public_bytes_raw()


def pem(key: object) -> str:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize(
    "text",
    [
        RAW.hex(),
        base64.b64encode(RAW).decode(),
        base64.urlsafe_b64encode(RAW).decode().rstrip("="),
        pem(PUBLIC),
        f"  {RAW.hex()}\n",
    ],
)
def test_a_public_key_is_read_in_every_usual_form(text: str) -> None:
    assert parse_public_key(text) == PUBLIC


@pytest.mark.parametrize(
    "text", ["", "abc", "zz" * 32, "-----BEGIN", pem(X25519PrivateKey.from_private_bytes(bytes(32)).public_key())]
)
def test_what_is_no_key_is_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(GatewayError, match="64 hex digits"):
        parse_public_key(text)


def test_a_rotated_gateway_keeps_its_old_key(tmp_path: Path) -> None:
    register = GatewayRegister(tmp_path / "gateways.sqlite")
    newer = Ed25519PrivateKey.generate().public_key()
    for key, now_ms in ((PUBLIC, 1), (newer, 2), (newer, 3)):
        register.add("gw", "site", key, now_ms)
    (gateway,) = register.all()

    register.revoke("gw", gateway.keys[0].id, 10)

    found = register.get("gw")
    assert found is not None
    assert [(key.public, key.valid_from_ms) for key in found.keys] == [(PUBLIC, 1), (newer, 2)]
    assert [key.is_valid(9) for key in found.keys] == [True, True]
    assert [key.is_valid(10) for key in found.keys] == [False, True]
    register.close()


def test_a_gateway_belongs_to_one_site(tmp_path: Path) -> None:
    register = GatewayRegister(tmp_path / "gateways.sqlite")
    register.add("gw", "site", PUBLIC, 1)

    with pytest.raises(GatewayError, match="belongs to site site"):
        register.add("gw", "another", PUBLIC, 2)

    assert [(one.id, one.site) for one in register.all()] == [("gw", "site")]
    register.close()


def test_only_a_known_key_can_be_revoked(tmp_path: Path) -> None:
    register = GatewayRegister(tmp_path / "gateways.sqlite")
    register.add("gw", "site", PUBLIC, 1)

    with pytest.raises(GatewayError, match="no key"):
        register.revoke("gw", "0123", 2)
    register.close()
