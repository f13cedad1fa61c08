"""`AsyncClient`: every RPC with v1 messages, and on top of them the friendly calls."""

from diptych.calls import Calls


class AsyncClient(Calls):
    """Talks to orchestrator, generator and editor.

    Addresses are `host:port`; without one the environment decides (`DIPTYCH_ADDRESS`, `DIPTYCH_GENERATOR_ADDRESS`,
    `DIPTYCH_EDITOR_ADDRESS`), else 127.0.0.1 with ports 50050, 50051 and 50052.
    """
