"""The client over TLS, mTLS and with a token, against a real server of diptych's own."""

import datetime
import hashlib
import ipaddress
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from diptych import AsyncClient, ServiceUnavailable, Tls, Unauthenticated
from diptych.serving.config import ServiceConfig
from diptych.serving.lifecycle import Lifecycle
from diptych.serving.server import ServiceServer
from diptych.serving.telemetry import Telemetry
from diptych.v1 import orchestrator_pb2_grpc
from tests.services.client_peer import NAMES, Peer


def certificate(folder: Path, name: str, issuer: str | None = None) -> None:
    """Writes NAME.pem and NAME.key, signed by the issuer's key or its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    signer = serialization.load_pem_private_key((folder / f"{issuer}.key").read_bytes(), None) if issuer else key
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer or name)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(signer, hashes.SHA256())  # type: ignore[arg-type]
    )
    (folder / f"{name}.pem").write_bytes(built.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / f"{name}.key").write_bytes(key.private_bytes(pem, form, plain))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    certificate(folder, "ca")
    certificate(folder, "server", "ca")
    certificate(folder, "studio", "ca")
    certificate(folder, "stranger")
    return folder


def server(folder: Path, **settings: Any) -> ServiceServer:
    peer = Peer()
    return ServiceServer(
        ServiceConfig(port=0, tls_cert=folder / "server.pem", tls_key=folder / "server.key", **settings),
        add_services=lambda grpc_server: orchestrator_pb2_grpc.add_OrchestratorServiceServicer_to_server(
            peer, grpc_server
        ),
        service_names=[NAMES["orchestrator"]],
        lifecycle=Lifecycle(),
        telemetry=Telemetry("orchestrator"),
    )


async def plan_route(address: str, **how: Any) -> str:
    async with AsyncClient(address, **how) as client:
        return (await client.plan("draw a cat", timeout=20)).route


async def test_a_trusted_server_is_called_and_another_is_not(folder: Path) -> None:
    async with server(folder) as running:
        assert await plan_route(running.address, tls=Tls(ca=folder / "ca.pem")) == "CHAIN"
        with pytest.raises(ServiceUnavailable, match="check the TLS settings"):
            await plan_route(running.address, tls=Tls(ca=folder / "stranger.pem"))
        with pytest.raises(ServiceUnavailable):
            await plan_route(running.address)


async def test_a_server_that_asks_for_a_certificate_gets_it(folder: Path) -> None:
    async with server(folder, tls_client_ca=folder / "ca.pem") as running:
        trusted = Tls(ca=folder / "ca.pem", cert=folder / "studio.pem", key=folder / "studio.key")
        assert await plan_route(running.address, tls=trusted) == "CHAIN"
        with pytest.raises(ServiceUnavailable):
            await plan_route(running.address, tls=Tls(ca=folder / "ca.pem"))


async def test_a_token_opens_the_door(folder: Path) -> None:
    tokens = folder / "tokens"
    tokens.write_text(f"studio:{hashlib.sha256(b'open sesame').hexdigest()}\n")
    async with server(folder, tokens_file=tokens) as running:
        tls = Tls(ca=folder / "ca.pem")
        assert await plan_route(running.address, tls=tls, token="open sesame") == "CHAIN"
        with pytest.raises(Unauthenticated, match="not one that this server knows"):
            await plan_route(running.address, tls=tls, token="please")
        with pytest.raises(Unauthenticated, match="needs a token"):
            await plan_route(running.address, tls=tls)
        async with AsyncClient(running.address, tls=tls) as client:
            assert await client.health("orchestrator"), "health needs no token"
