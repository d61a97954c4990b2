"""What is promised about the gateway's key."""

import base64
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from devices.errors import ConfigurationError
from edge.enrol import load_key, make_key, public_text


def test_a_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "gw-1.key"
    first = public_text(make_key(path).public_key())

    assert public_text(make_key(path).public_key()) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(base64.b64decode(first)) == 32


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "gw-1.key"
    make_key(path)
    path.chmod(0o640)

    with pytest.raises(ConfigurationError, match="others may read it"):
        load_key(path)


def test_a_missing_key_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="gatehouse edge key"):
        load_key(tmp_path / "gw-1.key")


@pytest.mark.parametrize("kind", ["nonsense", "another kind"])
def test_what_is_no_ed25519_key_is_refused(tmp_path: Path, kind: str) -> None:
    other = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path = tmp_path / "gw-1.key"
    path.write_bytes(other if kind == "another kind" else b"hello")
    path.chmod(0o600)

    with pytest.raises(ConfigurationError):
        load_key(path)
