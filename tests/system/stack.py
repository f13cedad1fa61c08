"""Real service processes for system tests: started on free ports, ready by health, ended by signal."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("generator", "editor", "orchestrator")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ServiceProcess:
    """One service as `python -m services.NAME`."""

    def __init__(self, name: str, port: int, log: Path, flags: Sequence[str] = ()) -> None:
        self.name = name
        self.port = port
        self.log = log
        self.flags = list(flags)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", f"services.{self.name}", "--port", str(self.port), *self.flags],
                cwd=ROOT,
                env={key: value for key, value in os.environ.items() if key not in {"DIPTYCH_ADDRESS", "DIPTYCH_PORT"}},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait_ready(self, seconds: float = 90.0) -> None:
        """Returns when health says SERVING; fails with the log when the process dies or time is up."""
        end = time.monotonic() + seconds
        with grpc.insecure_channel(self.address) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            while time.monotonic() < end:
                assert self.process is not None
                assert self.process.poll() is None, f"{self.name} died:\n{self.tail()}"
                try:
                    answer = health.Check(health_pb2.HealthCheckRequest(), timeout=2, wait_for_ready=True)
                except grpc.RpcError:
                    continue
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    return
        raise AssertionError(f"{self.name} was not ready in {seconds} s:\n{self.tail()}")

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """The exit code after SIGTERM."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=40)

    def tail(self, lines: int = 40) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class Stack:
    """The three services."""

    def __init__(self, folder: Path) -> None:
        ports = {name: free_port() for name in SERVICES}
        metrics = free_port()
        self.metrics_port = metrics
        peers = [f"--{name}-address=127.0.0.1:{ports[name]}" for name in ("generator", "editor")]
        flags = {"generator": ["--metrics-port", str(metrics)], "editor": [], "orchestrator": peers}
        self.services = {
            name: ServiceProcess(name, ports[name], folder / f"{name}.log", flags[name]) for name in SERVICES
        }

    @property
    def generator(self) -> ServiceProcess:
        return self.services["generator"]

    @property
    def editor(self) -> ServiceProcess:
        return self.services["editor"]

    @property
    def orchestrator(self) -> ServiceProcess:
        return self.services["orchestrator"]

    def environment(self) -> dict[str, str]:
        """The process environment with the three addresses, for clients."""
        addresses = {
            "DIPTYCH_ADDRESS": self.orchestrator.address,
            "DIPTYCH_GENERATOR_ADDRESS": self.generator.address,
            "DIPTYCH_EDITOR_ADDRESS": self.editor.address,
        }
        return {**os.environ, **addresses}

    def start(self) -> None:
        for service in self.services.values():
            service.start()
        for service in self.services.values():
            service.wait_ready()

    def stop(self) -> dict[str, int]:
        """Exit codes by service, of those that still ran."""
        running = [s for s in self.services.values() if s.process is not None and s.process.poll() is None]
        return {service.name: service.stop() for service in running}
