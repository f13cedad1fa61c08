"""`diptych serve`: services in the foreground, as child processes."""

import asyncio
import signal
from enum import StrEnum
from typing import Annotated

import typer

from diptych.cli.failures import FAILED, write_line
from diptych.cli.processes import SERVICES, ServiceProcess, clone_root, configured_port, flags_for_all
from diptych.errors import InvalidRequest, ServiceUnavailable


class Which(StrEnum):
    """What to serve."""

    orchestrator = "orchestrator"
    generator = "generator"
    editor = "editor"
    all = "all"


def serve(
    service: Annotated[Which, typer.Argument(help="Which service.")] = Which.all,
    flags: Annotated[
        list[str] | None,
        typer.Argument(metavar="-- FLAGS", help="Flags for the service, such as -- --port 6000.", show_default=False),
    ] = None,
) -> None:
    """Run services in the foreground; Ctrl-C drains them."""
    clone_root()
    extra = flags or []
    if service is not Which.all:
        code = asyncio.run(_serve({service.value: extra}))
        raise typer.Exit(code)
    if any(flag.partition("=")[0] in {"--port", "--metrics-port"} for flag in extra):
        raise InvalidRequest.single(
            "flags", "three services cannot share one port; set DIPTYCH_GENERATOR_PORT and its like instead"
        )
    ports = {name: configured_port(name) for name in SERVICES}
    raise typer.Exit(asyncio.run(_serve(flags_for_all(ports, extra))))


async def _serve(flags: dict[str, list[str]]) -> int:
    """0 after a signal when all ended well; else FAILED."""
    width = max(len(name) for name in flags)
    processes = [
        ServiceProcess(name, own, on_line=lambda line, name=name: _say(f"{name:{width}} | {line}"))  # type: ignore[misc]
        for name, own in flags.items()
    ]
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()

    def pass_on() -> None:
        # The second signal reaches the services as a second one: they stop draining.
        for process in processes:
            process.signal(signal.SIGTERM)
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, pass_on)
    for process in processes:
        await process.start()
    announcer = asyncio.create_task(_announce(processes))
    ends = {asyncio.create_task(process.ended()): process for process in processes}
    ask = asyncio.create_task(stopping.wait())
    await asyncio.wait([*ends, ask], return_when=asyncio.FIRST_COMPLETED)
    announcer.cancel()
    for task, process in ends.items():
        if task.done() and not stopping.is_set():
            write_line(f"the {process.service} ended with exit code {task.result()}; stopping the others")
    asked = stopping.is_set()
    codes = await asyncio.gather(*(ends if asked else [process.stop() for process in processes]))
    ask.cancel()
    _say("stopped")
    return 0 if asked and not any(codes) else FAILED


async def _announce(processes: list[ServiceProcess]) -> None:
    try:
        addresses = [await process.ready(600.0) for process in processes]
    except ServiceUnavailable:
        # The end of a process is told where it is waited for.
        return
    _say("serving " + ", ".join(f"{p.service} {at}" for p, at in zip(processes, addresses, strict=True)))


def _say(line: str) -> None:
    print(line, flush=True)
