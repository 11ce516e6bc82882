"""A certificate authority of our own and what it signs, as PEM files: keys as PKCS#8, the one form that Kafka takes.

Why the package `cryptography` and not the command `openssl`: it comes with pip like all the rest, and it makes a
certificate for a test that has expired, which the command refuses.
"""

import os
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from .jars import KafkaStartError

AUTHORITY_DAYS, DAYS = 3650, 365
HOSTS = ("localhost", "127.0.0.1", "::1")


def write_secret(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, from its first byte on."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)


class Authority:
    """Signs certificates; its own certificate is `ca.pem` in its folder, where it stays from one start to the next.

    Raises:
        KafkaStartError: the package that makes certificates is not installed.
    """

    def __init__(self, folder: Path, name: str = "embedded Kafka") -> None:
        try:
            from cryptography import x509
        except ImportError:
            raise KafkaStartError("A locked Kafka needs a package more: pip install '.[secure]'") from None
        from cryptography.hazmat.primitives import serialization

        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder, self.path = folder, folder / "ca.pem"
        key_path = folder / "ca-key.pem"
        if self.path.exists() and key_path.exists():
            self._key: Any = serialization.load_pem_private_key(key_path.read_bytes(), None)
            self._name = x509.load_pem_x509_certificate(self.path.read_bytes()).subject
            return
        self._key, self._name = _new_key(), _name(name)
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        certificate = self._sign(self._name, self._key.public_key(), constraints, AUTHORITY_DAYS)
        write_secret(key_path, _pem(self._key))
        self.path.write_bytes(_pem(certificate))

    def issue(self, name: str, hosts: tuple[str, ...] = HOSTS, days: int = DAYS) -> Path:
        """Write a new key and its certificate into `NAME.pem`; `days` below 0 make one that has expired."""
        from cryptography import x509

        key = _new_key()
        certificate = self._sign(
            _name(name), key.public_key(), x509.BasicConstraints(ca=False, path_length=None), days, hosts
        )
        path = self._folder / f"{name}.pem"
        write_secret(path, _pem(key) + _pem(certificate))
        return path

    def _sign(self, subject: Any, public_key: Any, constraints: Any, days: int, hosts: tuple[str, ...] = ()) -> Any:
        from cryptography import x509
        from cryptography.hazmat.primitives.hashes import SHA256

        end = datetime.now(UTC) + timedelta(days=days)
        builder = (
            x509.CertificateBuilder(self._name, subject, public_key, x509.random_serial_number())
            .not_valid_before(min(datetime.now(UTC), end) - timedelta(days=1))  # clocks differ
            .not_valid_after(end)
            .add_extension(constraints, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if hosts:
            names = [x509.DNSName(h) if h[-1].isalpha() else x509.IPAddress(ip_address(h)) for h in hosts]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, SHA256())


def _new_key() -> Any:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _name(name: str) -> Any:
    from cryptography import x509

    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def _pem(thing: Any) -> bytes:
    """Return a key, unencrypted, or a certificate as PEM."""
    from cryptography.hazmat.primitives import serialization as form

    if hasattr(thing, "private_bytes"):
        return thing.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    return thing.public_bytes(form.Encoding.PEM)
