"""The gateway's own Ed25519 key: made here, readable by its owner only, never leaves the machine."""

import base64
import stat
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from devices.errors import ConfigurationError, Problem, StorageUnavailable
from devices.segments import write_durably

KEY_MODE = 0o600


def make_key(path: Path) -> Ed25519PrivateKey:
    """The key of a file, made when there is none. Raises ConfigurationError or StorageUnavailable."""
    if path.exists():
        return load_key(path)
    key = Ed25519PrivateKey.generate()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), KEY_MODE)
    except OSError as error:
        raise StorageUnavailable(f"cannot write {path}: {error.strerror}") from error
    return key


def load_key(path: Path) -> Ed25519PrivateKey:
    """The key of a file. Raises ConfigurationError when it is missing, readable by others, or no such key."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        data = path.read_bytes()
    except FileNotFoundError:
        raise _problem(path, "there is no key here yet: make one with `gatehouse edge key`") from None
    except OSError as error:
        raise _problem(path, f"cannot be read: {error.strerror}") from error
    if mode & 0o077:
        raise _problem(path, f"others may read it (mode {mode:04o}): chmod 600, and make a new key if they could")
    try:
        key = load_pem_private_key(data, None)
    except (ValueError, TypeError):
        raise _problem(path, "this is no private key in PEM") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise _problem(path, "this is a key of another kind than Ed25519")
    return key


def public_text(key: Ed25519PublicKey) -> str:
    """The public half as base64 of its 32 raw bytes, for `gatehouse cloud gateway add`."""
    return base64.b64encode(key.public_bytes_raw()).decode()


def _problem(path: Path, message: str) -> ConfigurationError:
    return ConfigurationError([Problem(str(path), 0, 0, message)])
