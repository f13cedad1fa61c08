"""`diptych serve`: services in the foreground, as child processes."""

import asyncio
import signal
from functools import partial
from typing import Annotated

import typer

from diptych.cli.failures import DONE, FAILED, write_line
from diptych.cli.processes import SERVICES, ServiceProcess, clone_root, configured_port, flags_for_all
from diptych.errors import InvalidRequest, ServiceUnavailable

_ALL = "all"


def serve(
    service: Annotated[
        str, typer.Argument(help="Which service.", metavar="[orchestrator|generator|editor|all]")
    ] = _ALL,
    flags: Annotated[
        list[str] | None,
        typer.Argument(metavar="-- FLAGS", help="Flags for the service, such as -- --port 6000.", show_default=False),
    ] = None,
) -> None:
    """Run services in the foreground; Ctrl-C drains them."""
    extra = list(flags or [])
    if service.startswith("-"):
        # `serve -- --engine fake`: no service was named, these are all flags.
        service, extra = _ALL, [service, *extra]
    if service not in (_ALL, *SERVICES):
        raise InvalidRequest.single("service", f"{service!r} is none of {', '.join((*SERVICES, _ALL))}")
    clone_root()
    if service != _ALL:
        raise typer.Exit(asyncio.run(_serve({service: extra})))
    if any(flag.partition("=")[0] in {"--port", "--metrics-port"} for flag in extra):
        raise InvalidRequest.single(
            "flags", "three services cannot share one port; set DIPTYCH_GENERATOR_PORT and its like instead"
        )
    ports = {name: configured_port(name) for name in SERVICES}
    raise typer.Exit(asyncio.run(_serve(flags_for_all(ports, extra))))


async def _serve(flags: dict[str, list[str]]) -> int:
    """0 after a signal when all ended well; else FAILED."""
    width = max(len(name) for name in flags)
    processes = [ServiceProcess(name, own, on_line=partial(_say_for, f"{name:{width}}")) for name, own in flags.items()]
    stopping = asyncio.Event()

    def pass_on() -> None:
        # The second signal reaches the services as a second one: they stop draining.
        stopping.set()
        for process in processes:
            process.signal(signal.SIGTERM)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, pass_on)
    for process in processes:
        await process.start()
    if stopping.is_set():
        # It came before everyone was there to hear it.
        pass_on()
    announcer = asyncio.create_task(_announce(processes))
    ends = [asyncio.create_task(process.ended()) for process in processes]
    asked = asyncio.create_task(stopping.wait())
    await asyncio.wait([*ends, asked], return_when=asyncio.FIRST_COMPLETED)
    announcer.cancel()
    if not stopping.is_set():
        asked.cancel()
        for end, process in zip(ends, processes, strict=True):
            if end.done():
                write_line(f"the {process.service} ended with exit code {end.result()}")
        await asyncio.gather(*(process.stop() for process in processes))
        return FAILED
    codes = await asyncio.gather(*ends)
    _say("stopped")
    # A process that was still starting has no handler yet and ends by the signal itself.
    return DONE if all(code in (0, -signal.SIGTERM) for code in codes) else FAILED


async def _announce(processes: list[ServiceProcess]) -> None:
    try:
        addresses = [await process.ready(600.0) for process in processes]
    except ServiceUnavailable:
        # The end of a process is told where it is waited for.
        return
    _say("serving " + ", ".join(f"{p.service} {at}" for p, at in zip(processes, addresses, strict=True)))


def _say_for(prefix: str, line: str) -> None:
    _say(f"{prefix} | {line}")


def _say(line: str) -> None:
    print(line, flush=True)
