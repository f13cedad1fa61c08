"""Clients for commands that need one service alone."""

from diptych.calls import ServiceName
from diptych.cli.options import connect
from diptych.client import AsyncClient


def open_direct(service: ServiceName, address: str | None) -> AsyncClient:
    """A client of one service."""
    return connect(service, address)
