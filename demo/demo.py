"""A picture from a sentence, through three processes: starts the services, runs one goal, stops them, exits 0.

    python demo/demo.py ["another goal"]

Writes demo/result.png and the services' log, demo/services.log.
"""

import asyncio
import os
import signal
import socket
import sys
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TextIO

from diptych.cli import terminal
from diptych.cli.failures import FAILED, exit_code, write_line
from diptych.cli.processes import DEFAULT_PORTS, ServiceProcess, flags_for_all
from diptych.client import AsyncClient
from diptych.errors import DiptychError, ServiceUnavailable
from diptych.types import CreateResult

GOAL = "draw a red apple icon, cut out the background and make it four times bigger"
RESULT = Path(__file__).parent / "result.png"
LOG = RESULT.with_name("services.log")
READY_SECONDS = 120.0
GOAL_SECONDS = 180.0


async def run(goal: str) -> int:
    """The exit code of the whole show."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with LOG.open("w", encoding="utf-8") as log:
        processes = [
            ServiceProcess(service, flags, on_line=partial(note, log, service))
            for service, flags in flags_for_all(free_ports()).items()
        ]
        async with AsyncExitStack() as running:
            try:
                for process in processes:
                    await running.enter_async_context(process)
                result = await show(goal, processes)
            except DiptychError as error:
                # Now, before the services are stopped and their last lines speak of that.
                explain(error, processes)
                return exit_code(error) or FAILED
    return finish(result, [await process.ended() for process in processes])


async def show(goal: str, processes: list[ServiceProcess]) -> CreateResult:
    """What comes of the goal, watched as it grows."""
    print(f"starting {', '.join(process.service for process in processes)} ...", flush=True)
    addresses = {process.service: await process.ready(READY_SECONDS) for process in processes}
    print(f"ready: {', '.join(f'{service} {at}' for service, at in addresses.items())}", flush=True)
    client = AsyncClient(
        addresses["orchestrator"], generator_address=addresses["generator"], editor_address=addresses["editor"]
    )
    async with client:
        for service in ("orchestrator", "generator", "editor"):
            if not await client.health(service):
                raise ServiceUnavailable(service, f"the {service} answers but takes no work")
        print(f"goal: {goal}", flush=True)
        with terminal.watching(quiet=False) as on_event:
            return await client.create(goal, format="png", on_event=on_event, timeout=GOAL_SECONDS)


def explain(error: DiptychError, processes: list[ServiceProcess]) -> None:
    """Tells what went wrong, and what the services said last."""
    write_line(error.message)
    for process in processes:
        for line in list(process.last_lines)[-8:]:
            print(f"  {process.service} | {line}", file=sys.stderr)


def note(log: TextIO, service: str, line: str) -> None:
    """Keeps a line of a service."""
    print(service, line, sep=" | ", file=log, flush=True)


def finish(result: CreateResult, codes: list[int]) -> int:
    """Writes the picture and tells what made it."""
    (path,) = result.save(RESULT)
    out = terminal.console()
    terminal.show_records(out, result.records, result.marking)
    terminal.show_written(out, result, [path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path])
    if any(codes):
        write_line(f"the services ended with exit codes {codes}; see {LOG.name}")
        return FAILED
    print("services stopped")
    return 0


def free_ports() -> dict[str, int]:
    """The default ports, or free ones in place of those that are taken."""
    ports: dict[str, int] = {}
    held: list[socket.socket] = []
    for service, default in DEFAULT_PORTS.items():
        # Held open until all are chosen, so that no two services get the same one.
        probe = socket.socket()
        held.append(probe)
        try:
            probe.bind(("127.0.0.1", default))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        ports[service] = int(probe.getsockname()[1])
    for probe in held:
        probe.close()
    return ports


def main() -> int:
    """Runs the demo with the goal of the command line, or the default one."""
    # What someone set for services of their own is not for these.
    for name in [name for name in os.environ if name.startswith("DIPTYCH_") and name.endswith("_ADDRESS")]:
        del os.environ[name]
    try:
        return asyncio.run(run(" ".join(sys.argv[1:]) or GOAL))
    except (KeyboardInterrupt, asyncio.CancelledError):
        write_line("interrupted; the services were stopped")
        return FAILED


if __name__ == "__main__":
    sys.exit(main())
