"""TLS and mTLS with a certificate authority made on the spot."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import grpc
import pytest

from diptych.serving.config import ServiceConfig
from diptych.serving.context import current_request
from diptych.serving.lifecycle import Lifecycle
from diptych.serving.server import ServiceServer
from diptych.serving.telemetry import Telemetry

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")

WHO = "toy.Door"


async def who(request: bytes, context: Any) -> bytes:
    return (current_request().caller or "nobody").encode()


def add_door(server: grpc.aio.Server) -> None:
    handlers = {"Who": grpc.unary_unary_rpc_method_handler(who)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(WHO, handlers),))


class Authority:
    """Certificates in a folder, signed by one CA."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._openssl("ca", "-subj", "/CN=toy authority")

    def issue(self, name: str) -> tuple[Path, Path]:
        """Certificate and key for `name`, good for localhost."""
        signer = ("-CA", str(self.folder / "ca.pem"), "-CAkey", str(self.folder / "ca.key"))
        names = ("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-addext", "basicConstraints=CA:FALSE")
        self._openssl(name, "-subj", f"/CN={name}", *signer, *names)
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def _openssl(self, name: str, *arguments: str) -> None:
        new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
        out = ("-keyout", str(self.folder / f"{name}.key"), "-out", str(self.folder / f"{name}.pem"))
        command = ["openssl", "req", "-x509", *new_key, *out, *arguments]
        subprocess.run(command, check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    authority = Authority(tmp_path_factory.mktemp("tls"))
    for name in ("server", "studio"):
        authority.issue(name)
    return authority


def server_for(authority: Authority, **settings: Any) -> ServiceServer:
    config = ServiceConfig(
        tls_cert=authority.folder / "server.pem", tls_key=authority.folder / "server.key", **settings
    )
    return ServiceServer(
        config, add_services=add_door, service_names=[WHO], lifecycle=Lifecycle(), telemetry=Telemetry("toy")
    )


async def ask(server: ServiceServer, credentials: grpc.ChannelCredentials | None) -> str:
    target = f"localhost:{server.port}"
    channel = grpc.aio.insecure_channel(target) if credentials is None else grpc.aio.secure_channel(target, credentials)
    async with channel:
        answer: bytes = await channel.unary_unary(f"/{WHO}/Who")(b"", timeout=20)
    return answer.decode()


async def test_tls_serves_who_trusts_the_authority_and_nobody_in_the_clear(authority: Authority) -> None:
    async with server_for(authority) as server:
        assert await ask(server, grpc.ssl_channel_credentials(authority.read("ca.pem"))) == "nobody"
        for untrusting in (None, grpc.ssl_channel_credentials(authority.read("studio.pem"))):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await ask(server, untrusting)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_mtls_names_the_caller_and_refuses_who_has_no_certificate(authority: Authority) -> None:
    async with server_for(authority, tls_client_ca=authority.folder / "ca.pem") as server:
        known = grpc.ssl_channel_credentials(
            authority.read("ca.pem"), authority.read("studio.key"), authority.read("studio.pem")
        )
        assert await ask(server, known) == "studio"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(server, grpc.ssl_channel_credentials(authority.read("ca.pem")))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_with_tls_and_mtls_it_may_listen_beyond_this_machine(authority: Authority) -> None:
    async with server_for(authority, tls_client_ca=authority.folder / "ca.pem", host="0.0.0.0") as server:
        known = grpc.ssl_channel_credentials(
            authority.read("ca.pem"), authority.read("studio.key"), authority.read("studio.pem")
        )
        assert await ask(server, known) == "studio"
