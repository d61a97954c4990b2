"""Whom to believe over TLS: chain and name as OpenSSL checks them, dates by the agent's clock.

The machine's own clock may stand at 1970 for as long as it runs, so OpenSSL is told not to look at dates. Every
certificate of the chain is checked here instead, as soon as the handshake is done and before anything is sent.
"""

import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509

from devices.errors import ConfigurationError, Problem

_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME, which Python does not name


class WrongDates(ssl.SSLCertVerificationError):
    """A certificate of the cloud is not valid at the time it is."""


class DatedContext(ssl.SSLContext):
    """Trusts what `ca_file` or the system trusts, at the time that `calendar_ms` tells; None: at any time."""

    calendar_ms: Callable[[], int | None]

    @classmethod
    def of(cls, ca_file: Path | None, calendar_ms: Callable[[], int | None]) -> "DatedContext":
        """Raises ConfigurationError when the file cannot be used."""
        context = cls(ssl.PROTOCOL_TLS_CLIENT)
        context.calendar_ms = calendar_ms
        context.verify_flags |= _NO_CHECK_TIME
        context.sslobject_class = _DatedObject
        if ca_file is None:
            context.load_default_certs()
            return context
        try:
            context.load_verify_locations(ca_file)
        except OSError as error:
            raise ConfigurationError([Problem(str(ca_file), 0, 0, f"cannot be used as ca_file: {error}")]) from error
        return context


class _DatedObject(ssl.SSLObject):
    def do_handshake(self) -> None:
        super().do_handshake()
        context = self.context
        calendar_ms = context.calendar_ms() if isinstance(context, DatedContext) else None
        if calendar_ms is not None:
            check_dates(_chain(self), calendar_ms)


def check_dates(chain: list[bytes], now_ms: int) -> None:
    """Check that every certificate (DER) is valid at `now_ms`, Unix ms UTC. Raises WrongDates."""
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    for data in chain:
        certificate = x509.load_der_x509_certificate(data)
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if not begin <= now <= end:
            state = "not valid yet" if now < begin else "expired"
            what = certificate.subject.rfc4514_string() or "no name"
            message = (
                f"the certificate of {what} is {state}: valid {begin:%Y-%m-%d} to {end:%Y-%m-%d}, now {now:%Y-%m-%d}"
            )
            raise WrongDates(1, message)


def _chain(connection: ssl.SSLObject) -> list[bytes]:
    """The chain that was verified, as DER; the server's own certificate alone where Python cannot tell more."""
    public = getattr(connection, "get_verified_chain", None)  # Python 3.13
    if public is not None:
        return [bytes(one) for one in public()]
    inner: Any = getattr(connection, "_sslobj", None)
    if inner is not None and hasattr(inner, "get_verified_chain"):  # Python 3.10 to 3.12
        return [one.public_bytes(_DER) for one in inner.get_verified_chain()]
    own = connection.getpeercert(binary_form=True)
    return [own] if own else []


_DER = 2  # _ssl.ENCODING_DER
