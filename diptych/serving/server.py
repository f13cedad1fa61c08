"""A gRPC server with all that the services share, from binding the port to draining."""

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Self, TypeVar

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import start_http_server

from diptych.errors import DiptychError
from diptych.serving.auth import Tokens, TokensFileError
from diptych.serving.config import ServiceConfig
from diptych.serving.interceptors import InFlight, RequestInterceptor
from diptych.serving.lifecycle import Lifecycle, State
from diptych.serving.telemetry import Telemetry, configure_logging

logger = logging.getLogger(__name__)

# For the last bytes of answers on their way, and for health watchers, whom only the end of the server ends.
_LAST_BYTES_SECONDS = 1.0
_FORCED_EXIT = 1


class StartupError(Exception):
    """The server cannot start; the message is one line and says what to do."""


class ServiceServer:
    """One service on one port: health, reflection, limits, TLS, access, metrics and draining around its servicers.

    `service_names` are the full names of the gRPC services that `add_services` adds, such as
    `diptych.v1.GeneratorService`. As an async context manager it starts and stops.
    """

    def __init__(
        self,
        config: ServiceConfig,
        *,
        add_services: Callable[[grpc.aio.Server], None],
        service_names: Sequence[str],
        lifecycle: Lifecycle,
        telemetry: Telemetry,
    ) -> None:
        self.config = config
        self.lifecycle = lifecycle
        self.telemetry = telemetry
        self.port = 0
        self._add_services = add_services
        self._service_names = tuple(service_names)
        self._health = health.aio.HealthServicer()
        self._stop_metrics: Callable[[], None] | None = None

    @property
    def address(self) -> str:
        """`host:port` as clients write it."""
        return _join(self.config.host, self.port)

    @property
    def in_flight(self) -> InFlight:
        """The accepted calls that have not ended."""
        return self._interceptor.in_flight

    async def start(self) -> None:
        """Binds, serves and becomes READY. StartupError when port or files do not allow it."""
        self.telemetry.watch_tasks(asyncio.get_running_loop())
        self._interceptor = RequestInterceptor(
            lifecycle=self.lifecycle,
            telemetry=self.telemetry,
            service_names=self._service_names,
            tokens=self._read_tokens(),
        )
        self._server = grpc.aio.server(interceptors=[self._interceptor], options=_options(self.config))
        self._add_services(self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (*self._service_names, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        await self._publish_health(State.STARTING)
        self.lifecycle.on_change(self._publish_health)
        started = False
        try:
            self.port = self._bind()
            self._start_metrics()
            await self._server.start()
            started = True
        finally:
            if not started:
                await self._close()
        await self.lifecycle.enter(State.READY)
        logger.info("ready", extra={"fields": {"address": self.address, "tls": self.config.tls}})

    async def stop(self) -> None:
        """Refuses new work, lets accepted work finish for at most `drain_seconds`, then closes everything."""
        await self.lifecycle.enter(State.DRAINING)
        logger.info("draining", extra={"fields": {"in_flight": self.in_flight.count}})
        if not await self.in_flight.wait_idle(self.config.drain_seconds):
            logger.warning("drain time is over", extra={"fields": {"cut_off": self.in_flight.count}})
            await self._close()
        else:
            await self._close(_LAST_BYTES_SECONDS)

    async def _close(self, grace: float | None = None) -> None:
        await self._server.stop(grace)
        await self.in_flight.wait_idle(_LAST_BYTES_SECONDS)  # Handlers cut off clean up before their workers close.
        await self.lifecycle.enter(State.STOPPED)
        if self._stop_metrics is not None:
            await asyncio.to_thread(self._stop_metrics)
        logger.info("stopped")

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _publish_health(self, state: State) -> None:
        serving = health_pb2.HealthCheckResponse.SERVING
        status = serving if state is State.READY else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", *self._service_names):
            await self._health.set(name, status)

    def _read_tokens(self) -> Tokens | None:
        if self.config.tokens_file is None:
            return None
        try:
            return Tokens.read(self.config.tokens_file)
        except (TokensFileError, OSError, UnicodeDecodeError) as error:
            raise StartupError(f"--tokens-file: {error}") from error

    def _start_metrics(self) -> None:
        port = self.config.metrics_port
        if port == 0:
            return
        _probe(self.config.host, port, "--metrics-port")
        page, thread = start_http_server(port, addr=self.config.host, registry=self.telemetry.registry)
        self._stop_metrics = lambda: _stop_page(page.shutdown, page.server_close, thread)

    def _bind(self) -> int:
        config = self.config
        credentials = self._credentials()
        if config.port:
            _probe(config.host, config.port, "--port")
        address = _join(config.host, config.port)
        try:
            if credentials is None:
                return self._server.add_insecure_port(address)
            return self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            hint = " (or the certificate and key do not match)" if credentials is not None else ""
            raise StartupError(f"cannot listen on {address}{hint}; choose another --host or --port") from error

    def _credentials(self) -> grpc.ServerCredentials | None:
        config = self.config
        if config.tls_cert is None or config.tls_key is None:
            return None
        try:
            pair = (config.tls_key.read_bytes(), config.tls_cert.read_bytes())
            client_ca = config.tls_client_ca.read_bytes() if config.tls_client_ca is not None else None
        except OSError as error:
            raise StartupError(f"cannot read a TLS file: {error}") from error
        return grpc.ssl_server_credentials([pair], client_ca, require_client_auth=client_ca is not None)


def _options(config: ServiceConfig) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", config.max_message_bytes),
        ("grpc.max_send_message_length", config.max_message_bytes),
        ("grpc.so_reuseport", 0),  # Two servers on one port must be an error, not a lottery.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ]


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _probe(host: str, port: int, flag: str) -> None:
    """Binds and lets go, for the operating system's own words on why a port cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StartupError(f"cannot listen on {_join(host, port)}: {reason}; choose another with {flag}") from error


def _stop_page(shutdown: Callable[[], None], close: Callable[[], None], thread: threading.Thread) -> None:
    shutdown()
    close()
    thread.join()


async def serve(server: ServiceServer) -> None:
    """Runs `server` until SIGTERM or SIGINT, then drains it. A second signal ends the process on the spot.

    Prints `ready SERVICE HOST:PORT` on stdout once calls are accepted, for whoever started the process.
    """
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()

    def on_signal() -> None:
        if asked.is_set():
            logger.warning("second signal: leaving without draining")
            os._exit(_FORCED_EXIT)
        asked.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    async with server:
        print(f"ready {server.config.service} {server.address}", flush=True)
        await asked.wait()


C = TypeVar("C", bound=ServiceConfig)


def run_service(config: C, build: Callable[[C], Awaitable[ServiceServer]]) -> int:
    """The exit code of a service's whole life: `build` loads and warms, then it serves until told to stop.

    A failure to start is one line on stderr and 1.
    """
    configure_logging(config.log_format, config.log_level)

    async def live() -> None:
        await serve(await build(config))

    try:
        asyncio.run(live())
    except StartupError as error:
        print(f"{config.service}: {error}", file=sys.stderr)
        return 1
    except DiptychError as error:
        print(f"{config.service}: {error.message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # While loading; once it serves, signals drain.
        return 128 + signal.SIGINT
    return 0
