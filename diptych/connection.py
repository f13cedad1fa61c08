"""A channel to one service, and the one place where a failed call becomes a `DiptychError` again."""

import os
import re
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message
from google.rpc import status_pb2
from grpc_status import rpc_status

from diptych.errors import (
    DeadlineExceeded,
    DiptychError,
    InvalidRequest,
    Overloaded,
    ServiceUnavailable,
    Unsupported,
    from_status,
)

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
REQUEST_ID = "x-request-id"

_OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # Error details travel in trailers; the default 8 KiB would turn a long list of violations into a transport error.
    ("grpc.absolute_max_metadata_size", 64 * 1024),
    # A service that comes back is used again within a second, not after gRPC's two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.min_reconnect_backoff_ms", 5000),
    # A new client makes a new connection; it does not inherit another client's back-off.
    ("grpc.use_local_subchannel_pool", 1),
)
_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(?P<port>\d{1,5})")
_LOOPBACK = re.compile(r"localhost|127(\.\d+){3}|\[::1\]")
_REFUSED = ("failed to connect", "connection refused", "dns resolution failed", "name resolution", "no route to host")

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


@dataclass(frozen=True)
class Tls:
    """How to trust the server and, with `cert` and `key`, be trusted by it. PEM files."""

    ca: str | Path | None = None  # default: the machine's roots
    cert: str | Path | None = None
    key: str | Path | None = None
    server_name: str | None = None  # when the certificate names something else than the address

    def credentials(self) -> grpc.ChannelCredentials:
        """What gRPC needs. InvalidRequest when a file cannot be read."""
        try:
            ca, key, cert = (Path(path).read_bytes() if path else None for path in (self.ca, self.key, self.cert))
        except OSError as error:
            raise InvalidRequest.single("tls", f"{error.filename} cannot be read: {error.strerror}") from None
        return grpc.ssl_channel_credentials(ca, key, cert)


class Connection:
    """One service at one address. The channel opens at the first call and belongs to that call's event loop."""

    def __init__(
        self, service: str, address: str, *, token: str | None, tls: Tls | None, allow_insecure: bool = False
    ) -> None:
        loopback = _check_address(service, address)
        if token and tls is None and not loopback and not allow_insecure:
            raise InvalidRequest.single(
                "token",
                f"would travel unencrypted to {address}; give tls=Tls(...), or allow_insecure=True "
                "(DIPTYCH_ALLOW_INSECURE=1) where the network is trusted",
            )
        self.service = service
        self.address = address
        self._token = token
        self._tls = tls
        # A proxy from the environment must not come between two processes of one machine.
        self._options = [*_OPTIONS, ("grpc.enable_http_proxy", 0)] if loopback else [*_OPTIONS]
        if tls and tls.server_name:
            self._options.append(("grpc.ssl_target_name_override", tls.server_name))
        self._channel: grpc.aio.Channel | None = None

    @property
    def channel(self) -> grpc.aio.Channel:
        """The open channel."""
        if self._channel is None:
            if self._tls is None:
                self._channel = grpc.aio.insecure_channel(self.address, options=self._options)
            else:
                credentials = self._tls.credentials()
                self._channel = grpc.aio.secure_channel(self.address, credentials, options=self._options)
        return self._channel

    async def close(self) -> None:
        """Ends the channel and every call on it."""
        if self._channel is not None:
            await self._channel.close()
            self._channel = None

    async def call(
        self,
        method: "grpc.aio.UnaryUnaryMultiCallable[Request, Response]",
        request: Request,
        timeout: float | None,
        metadata: Mapping[str, str] | None,
    ) -> Response:
        """The answer to one request. DiptychError when there is none."""
        try:
            return await method(request, timeout=timeout, metadata=self._headers(metadata))
        except grpc.aio.AioRpcError as error:
            raise self._error(error, request.DESCRIPTOR.name, timeout) from None

    async def stream(
        self,
        method: "grpc.aio.UnaryStreamMultiCallable[Request, Response]",
        request: Request,
        timeout: float | None,
        metadata: Mapping[str, str] | None,
    ) -> AsyncGenerator[Response, None]:
        """The answers to one request. Closing the iterator cancels the call on the server."""
        call = method(request, timeout=timeout, metadata=self._headers(metadata))
        try:
            async for response in call:
                yield response
        except grpc.aio.AioRpcError as error:
            raise self._error(error, request.DESCRIPTOR.name, timeout) from None
        finally:
            call.cancel()

    async def send(
        self,
        method: "grpc.aio.StreamUnaryMultiCallable[Request, Response]",
        requests: AsyncIterator[Request] | Iterator[Request],
        timeout: float | None,
        metadata: Mapping[str, str] | None,
    ) -> Response:
        """The answer to a stream of requests. DiptychError when there is none."""
        try:
            return await method(requests, timeout=timeout, metadata=self._headers(metadata))
        except grpc.aio.AioRpcError as error:
            raise self._error(error, "", timeout) from None

    def _headers(self, metadata: Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
        headers = {REQUEST_ID: uuid.uuid4().hex}
        if self._token:
            headers["authorization"] = f"Bearer {self._token}"
        headers.update((key.lower(), value) for key, value in (metadata or {}).items())
        return tuple(headers.items())

    def _error(self, error: grpc.aio.AioRpcError, request: str, timeout: float | None) -> DiptychError:
        try:
            status = rpc_status.from_call(error)
        except ValueError:
            # A proxy rewrote code or message: what it says now is what counts.
            status = None
        if status is None:
            return self._plain_error(error, request, timeout)
        known = from_status(status)
        if isinstance(known, ServiceUnavailable) and not known.service:
            known.service = known.metadata["service"] = self.service
        return known

    def _plain_error(self, error: grpc.aio.AioRpcError, request: str, timeout: float | None) -> DiptychError:
        """The error of a call that failed below the service, so that nobody wrote details."""
        code, details = error.code(), error.details() or ""
        where = f"{self.service} at {self.address}"
        if code is grpc.StatusCode.UNAVAILABLE:
            return ServiceUnavailable(self.service, self._unavailable(details))
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            within = "in time" if timeout is None else f"within {timeout:g} s"
            return DeadlineExceeded(f"{where} did not answer {within}", metadata={"service": self.service})
        if code is grpc.StatusCode.UNIMPLEMENTED:
            what = request.removesuffix("Request") or "this call"
            return Unsupported(f"the server at {self.address} does not know {what}; is it a diptych {self.service}?")
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in details:
            if details.startswith("CLIENT: Received"):
                return Overloaded(
                    f"the answer of {where} is over the client's limit of {MAX_MESSAGE_BYTES} bytes; ask for less",
                    reason="MESSAGE_TOO_LARGE",
                )
            return InvalidRequest.single(
                "request", f"over the message limit of {where} ({details}); send smaller or fewer pictures"
            )
        message = f"{where}: {details or code.name}"
        return from_status(status_pb2.Status(code=int(code.value[0]), message=message))

    def _unavailable(self, details: str) -> str:
        where = f"{self.service} at {self.address}"
        lower = details.lower()
        if "handshake" in lower or "ssl" in lower or "certificate" in lower:
            return f"{where} refused the encrypted connection ({details}); check the TLS settings of both sides"
        if any(sign in lower for sign in _REFUSED):
            return f"{where} cannot be reached; is it running? start it with: diptych serve {self.service}"
        return f"the connection to {where} was lost ({details or 'no reason given'}); look at its log and try again"


def default_address(service: str) -> str:
    """Where a service is when nobody says: from the environment, else the loopback default."""
    variable, port = _DEFAULTS[service]
    return os.environ.get(variable) or f"127.0.0.1:{port}"


_DEFAULTS = {
    "orchestrator": ("DIPTYCH_ADDRESS", 50050),
    "generator": ("DIPTYCH_GENERATOR_ADDRESS", 50051),
    "editor": ("DIPTYCH_EDITOR_ADDRESS", 50052),
}


def _check_address(service: str, address: str) -> bool:
    """Whether an address stays on this machine. InvalidRequest when it is none."""
    if address.startswith("unix:"):
        return True
    match = _ADDRESS.fullmatch(address.removeprefix("dns:///"))
    if match is None or not 0 < int(match["port"]) < 65536:
        raise InvalidRequest.single(
            "address", f"{address!r} of the {service} must be HOST:PORT, such as 127.0.0.1:50050"
        )
    return _LOOPBACK.fullmatch(match["host"]) is not None
