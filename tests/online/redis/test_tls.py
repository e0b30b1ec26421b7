"""Over TLS only a server that our authority signed is trusted."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fs_spark.errors import OnlineStoreError
from fs_spark.online import open_online
from fs_spark.online.protocol import open_store
from tests.online.contract.kinds import SERVICE, reading, readings, xs
from tests.online.servers import Server, free_port, running


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Authority:
    """Signs certificates for this machine; its files are `<name>.pem` and `<name>.key`."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name, self.key = folder, name, ec.generate_private_key(ec.SECP256R1())
        basic = x509.BasicConstraints(ca=True, path_length=0)
        self._write(name, self.key, self._builder(name, self.key).add_extension(basic, critical=True))

    def signed(self, name: str, address: str = "127.0.0.1") -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        self._write(name, key, self._builder(name, key).add_extension(names, critical=False))

    def _builder(self, name: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(_name(self.name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
        )

    def _write(self, name: str, key: ec.EllipticCurvePrivateKey, builder: x509.CertificateBuilder) -> None:
        plain = serialization.NoEncryption()
        form = serialization.PrivateFormat.PKCS8
        certificate = builder.sign(self.key, hashes.SHA256())
        (self.folder / f"{name}.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
        (self.folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    ours = Authority(folder, "ours")
    ours.signed("server")
    ours.signed("elsewhere", "10.0.0.1")
    ours.signed("client")
    Authority(folder, "theirs").signed("stranger")
    return folder


def tls_server(files: Path, folder: Path, certificate: str) -> Server:
    port = free_port()
    options = ["--port", "0", "--tls-port", str(port), "--tls-auth-clients", "yes"]
    options += [
        "--tls-cert-file",
        str(files / f"{certificate}.pem"),
        "--tls-key-file",
        str(files / f"{certificate}.key"),
    ]
    options += ["--tls-ca-cert-file", str(files / "ours.pem")]
    client = {"ssl_certfile": str(files / "client.pem"), "ssl_keyfile": str(files / "client.key")}
    return Server(folder, options, port, {"ssl": True, "ssl_cert_reqs": "none", "ssl_check_hostname": False, **client})


@pytest.fixture(scope="module")
def server(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = tls_server(files, tmp_path_factory.mktemp("tls"), "server")
    with running(server):
        yield server


def url(server: Server, files: Path, *, ca: str | None = "ours", client: str | None = "client") -> str:
    options = [f"ca={files / ca}.pem"] if ca else []
    options += [f"cert={files / client}.pem", f"key={files / client}.key"] if client else []
    return f"rediss://127.0.0.1:{server.port}?{'&'.join(options)}"


def test_a_server_of_our_authority_is_trusted(server: Server, files: Path) -> None:
    store = open_store(url(server, files))
    store.publish(SERVICE, readings(SERVICE, [reading("a", 1.0)]))
    store.close()
    assert xs(url(server, files), "ab") == [1.0, None]


@pytest.mark.parametrize("ca", [None, "theirs"])
def test_a_server_of_another_authority_is_refused(server: Server, files: Path, ca: str | None) -> None:
    with pytest.raises(OnlineStoreError, match="is not trusted") as fault:
        open_online(url(server, files, ca=ca))
    assert "Hint: name the authority" in str(fault.value)
    with pytest.raises(OnlineStoreError, match="is not trusted"):
        open_store(url(server, files, ca=ca)).publish(SERVICE, readings(SERVICE, []))


def test_a_certificate_for_another_machine_is_refused(files: Path, tmp_path: Path) -> None:
    server = tls_server(files, tmp_path, "elsewhere")
    with running(server), pytest.raises(OnlineStoreError, match="is not trusted"):
        open_online(url(server, files))


@pytest.mark.parametrize("client", [None, "stranger"])
def test_a_client_that_the_server_does_not_know_is_refused(server: Server, files: Path, client: str | None) -> None:
    with pytest.raises(OnlineStoreError) as fault:
        open_online(url(server, files, client=client))
    assert "Hint: " in str(fault.value)


def test_without_tls_a_tls_server_is_a_clear_fault(server: Server) -> None:
    with pytest.raises(OnlineStoreError) as fault:
        open_online(f"redis://127.0.0.1:{server.port}?timeout=1")
    assert "Hint: " in str(fault.value)


def test_files_that_are_missing_are_a_clear_fault(server: Server, files: Path) -> None:
    with pytest.raises(OnlineStoreError) as fault:
        open_online(url(server, files, ca="nobody"))
    assert "nobody.pem" in str(fault.value)
