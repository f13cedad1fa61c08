"""Services as child processes: started from the clone, watched line by line, ended by signal."""

import asyncio
import contextlib
import ctypes
import os
import re
import signal
import sys
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Self

import diptych
from diptych.errors import FailedPrecondition, ServiceUnavailable

SERVICES = ("generator", "editor", "orchestrator")
DEFAULT_PORTS: Mapping[str, int] = {"orchestrator": 50050, "generator": 50051, "editor": 50052}

_READY = re.compile(r"ready (?P<service>\w+) (?P<address>\S+:\d+)")
_PR_SET_PDEATHSIG = 1
_MOST_LINE_BYTES = 1 << 20
# Long enough for a service that drains 30 s of accepted work.
_STOP_SECONDS = 40.0


def clone_root() -> Path:
    """The folder that holds `services`. FailedPrecondition when this is not a clone, or lacks what services need."""
    root = Path(diptych.__file__).resolve().parents[1]
    if not (root / "services" / "orchestrator" / "__main__.py").is_file():
        raise FailedPrecondition(
            "the services are not beside the installed package; run this from a clone of diptych, "
            "or give --address of a running one",
            reason="NO_SERVICES",
        )
    if find_spec("onnxruntime") is None or find_spec("pydantic_settings") is None:
        raise FailedPrecondition("running services needs the extra: pip install -e '.[serve]'", reason="NO_SERVE_EXTRA")
    return root


class ServiceProcess:
    """`python -m services.NAME FLAGS`, in a process group of its own so that Ctrl-C reaches it only through us."""

    def __init__(
        self,
        service: str,
        flags: Sequence[str] = (),
        *,
        on_line: Callable[[str], None] | None = None,
        without: Collection[str] = (),
    ) -> None:
        self.service = service
        self.last_lines: deque[str] = deque(maxlen=40)
        self._flags = list(flags)
        self._on_line = on_line
        self._environment = {key: value for key, value in os.environ.items() if key not in without}
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._address: asyncio.Future[str] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Starts the process; `ready` says when it serves."""
        root = clone_root()
        self._address = asyncio.get_running_loop().create_future()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            f"services.{self.service}",
            *self._flags,
            cwd=root,
            env={**self._environment, "PYTHONUNBUFFERED": "1"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=_MOST_LINE_BYTES,
            start_new_session=True,
            preexec_fn=_end_with_parent(),
        )
        self._reader = asyncio.create_task(self._read())

    async def ready(self, seconds: float) -> str:
        """HOST:PORT once the service takes calls. ServiceUnavailable with its last line when it does not."""
        assert self._address is not None, "not started"
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.shield(self._address)
        except TimeoutError:
            raise self._failure(f"was not ready within {seconds:g} s") from None

    async def ended(self) -> int:
        """The exit code, once the process has ended and its last line was read."""
        assert self._process is not None, "not started"
        assert self._reader is not None
        await asyncio.shield(self._reader)
        return await self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Passes a signal on, if there is still anyone to hear it."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def stop(self, seconds: float = _STOP_SECONDS) -> int:
        """The exit code after SIGTERM, or after SIGKILL when the process does not end in time."""
        if self._process is None:
            return 0
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(seconds):
                return await self.ended()
        except TimeoutError:
            return await self._kill()
        except asyncio.CancelledError:
            await self._kill()
            raise

    async def _kill(self) -> int:
        self.signal(signal.SIGKILL)
        return await self.ended()

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        assert self._address is not None
        while True:
            try:
                raw = await self._process.stdout.readline()
            except ValueError:
                # A line over the limit: dropped, the next one is read.
                continue
            if not raw:
                break
            line = raw.decode(errors="replace").rstrip()
            self.last_lines.append(line)
            if (match := _READY.fullmatch(line)) and not self._address.done():
                self._address.set_result(match["address"])
            if self._on_line is not None:
                self._on_line(line)
        code = await self._process.wait()
        if not self._address.done():
            self._address.set_exception(self._failure(f"ended with exit code {code}"))
            # Not everyone asks whether it was ready.
            self._address.exception()

    def _failure(self, what: str) -> ServiceUnavailable:
        said = next((line for line in reversed(self.last_lines) if line.strip()), "it said nothing")
        return ServiceUnavailable(self.service, f"the {self.service} {what}: {said}", reason="SERVICE_NOT_STARTED")


def _end_with_parent() -> Callable[[], object] | None:
    """Run in the child: has it end by SIGTERM when we are killed, so that no service is left holding a port."""
    if not sys.platform.startswith("linux"):
        return None
    # Loaded here, before the fork, where loading is safe.
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))


def flags_for_all(ports: Mapping[str, int], extra: Sequence[str] = ()) -> dict[str, list[str]]:
    """Flags of each service so that the three find one another on these ports of this machine."""
    flags = {service: ["--port", str(ports[service]), *extra] for service in SERVICES}
    for peer in ("generator", "editor"):
        flags["orchestrator"] += [f"--{peer}-address", f"127.0.0.1:{ports[peer]}"]
    return flags


def configured_port(service: str) -> int:
    """The port that the environment gives a service, else its default."""
    given = os.environ.get(f"DIPTYCH_{service.upper()}_PORT", "")
    return int(given) if given.isdecimal() else DEFAULT_PORTS[service]
