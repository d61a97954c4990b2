"""Certificates made on the fly: an authority, a server for 127.0.0.1, a client."""

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

BEGIN = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
END = dt.datetime(2099, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True)
class Authority:
    """Signs certificates; its own and theirs are PEM files in `folder`."""

    folder: Path
    name: str
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def make(cls, folder: Path, name: str = "ca") -> "Authority":
        """A new authority; its certificate is `<name>.pem`."""
        authority = cls(folder, name, ec.generate_private_key(ec.SECP256R1()))
        authority._write(name, authority.key, authority_itself=True)
        return authority

    def issue(
        self, name: str, begin: dt.datetime = BEGIN, end: dt.datetime = END, host: str = "127.0.0.1"
    ) -> tuple[Path, Path]:
        """Certificate and key for `name`, good for a host's address: `<name>.pem`, `<name>.key`."""
        key = ec.generate_private_key(ec.SECP256R1())
        self._write(name, key, authority_itself=False, begin=begin, end=end, host=host)
        path = self.folder / f"{name}.key"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return self.folder / f"{name}.pem", path

    def _write(
        self, name: str, key: ec.EllipticCurvePrivateKey, *, authority_itself: bool,
        begin: dt.datetime = BEGIN, end: dt.datetime = END, host: str = "127.0.0.1",
    ) -> None:  # fmt: skip
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=authority_itself, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if not authority_itself:
            address = x509.IPAddress(ipaddress.ip_address(host))
            builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
        certificate = builder.sign(self.key, hashes.SHA256())
        (self.folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
