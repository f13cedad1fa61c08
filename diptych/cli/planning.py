"""A planner to ask: the orchestrator at an address, or a private one for as long as the command runs."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from diptych.cli.options import connect
from diptych.cli.processes import ServiceProcess
from diptych.client import AsyncClient
from diptych.errors import DiptychError

_START_SECONDS = 120.0
# A private planner listens on this machine for this command alone: what guards a shared server is not for it.
_SHARED_ONLY = ("TLS_CERT", "TLS_KEY", "TLS_CLIENT_CA", "TOKENS_FILE")


@asynccontextmanager
async def planner(address: str | None) -> AsyncIterator[AsyncClient]:
    """A client whose orchestrator answers.

    Without an address from the caller or the environment, and with nothing on the default port, an orchestrator is
    started on a free port of this machine, and stopped at the end. Planning runs no picture model and needs no peers.
    """
    if address or os.environ.get("DIPTYCH_ADDRESS"):
        async with connect("orchestrator", address) as client:
            yield client
        return
    async with connect("orchestrator", None) as client:
        try:
            running = await client.health("orchestrator", timeout=1.0)
        except DiptychError:
            running = False
        if running:
            yield client
            return
    scrubbed = {f"DIPTYCH_{who}{name}" for name in _SHARED_ONLY for who in ("", "ORCHESTRATOR_")}
    flags = ["--host", "127.0.0.1", "--port", "0", "--metrics-port", "0", "--log-level", "warning"]
    process = ServiceProcess("orchestrator", flags, without=scrubbed)
    async with process, AsyncClient(await process.ready(_START_SECONDS)) as client:
        yield client
