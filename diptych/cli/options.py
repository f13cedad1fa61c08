"""Options that several commands share, and the client they ask for."""

import os
import re
from pathlib import Path
from typing import Annotated

import typer

from diptych.calls import ServiceName
from diptych.client import AsyncClient
from diptych.connection import Tls, default_address
from diptych.errors import InvalidRequest

Address = Annotated[
    str | None,
    typer.Option(help="HOST:PORT of the orchestrator, or of the service itself. Default: DIPTYCH_ADDRESS, else local."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print results and errors as JSON.")]
Timeout = Annotated[float | None, typer.Option(help="Give up after so many seconds.", min=0.001)]
Output = Annotated[
    str | None,
    typer.Option("--output", "-o", help="File to write (.png .jpg .webp .avif), or - for stdout.", metavar="OUT"),
]
Images = Annotated[
    list[Path] | None,
    typer.Option("--image", help="A picture the goal speaks of; repeat for more.", metavar="FILE"),
]

Conversation = Annotated[
    str | None, typer.Option(help="Any name; goals of one conversation may say “now warmer” or “undo that”.")
]
Profile = Annotated[str | None, typer.Option(help="A brand that the orchestrator knows (see its --profiles).")]
MaxSize = Annotated[
    str | None,
    typer.Option("--max-size", help="Of the file, such as 200KB or 1.5MB: the best quality that fits.", metavar="SIZE"),
]
Seed = Annotated[int | None, typer.Option(help="The same goal and seed draw the same pictures.", min=0, max=2**64 - 1)]

_FILE_SIZE = re.compile(r"(\d{1,10}(?:\.\d{1,3})?)\s*([kKmM]i?[bB]|[bB]|[kKmM]?)")
_BYTES = {"": 1, "b": 1, "k": 1000, "kb": 1000, "kib": 1 << 10, "m": 1000**2, "mb": 1000**2, "mib": 1 << 20}


def connect(service: ServiceName, address: str | None) -> AsyncClient:
    """A client whose `service` is at `address`, with token and TLS from the environment."""
    # The orchestrator's address stands in for the others: one address is all that a caller needs to know.
    own = {"generator": "DIPTYCH_GENERATOR_ADDRESS", "editor": "DIPTYCH_EDITOR_ADDRESS"}.get(service, "")
    at = address or os.environ.get(own) or os.environ.get("DIPTYCH_ADDRESS") or default_address(service)
    if service == "generator":
        return AsyncClient(generator_address=at, tls=tls_from_environment())
    if service == "editor":
        return AsyncClient(editor_address=at, tls=tls_from_environment())
    return AsyncClient(at, tls=tls_from_environment())


def tls_from_environment() -> Tls | None:
    """TLS from DIPTYCH_TLS_CA, with DIPTYCH_CLIENT_CERT and DIPTYCH_CLIENT_KEY where the server asks who calls."""
    # Not DIPTYCH_TLS_CERT and _KEY: those are a server's own.
    ca, cert, key = (os.environ.get(f"DIPTYCH_{name}") for name in ("TLS_CA", "CLIENT_CERT", "CLIENT_KEY"))
    return Tls(ca or None, cert or None, key or None) if ca or cert or key else None


def max_bytes(text: str | None) -> int | None:
    """The bytes of "200KB", "1.5 MB", "64KiB" or "5000"; KB is 1000 bytes. InvalidRequest for other forms."""
    if text is None:
        return None
    said = _FILE_SIZE.fullmatch(text.strip())
    count = int(float(said[1]) * _BYTES[said[2].lower()]) if said is not None else 0
    if not 1 <= count < 2**32:
        raise InvalidRequest.single("max-size", f"write bytes, KB or MB, such as 200KB, not {text!r}")
    return count


def size(text: str | None) -> tuple[int | None, int | None]:
    """Width and height of "WxH", or nothing. InvalidRequest for other forms."""
    if text is None:
        return None, None
    width, sign, height = text.lower().partition("x")
    if not (sign and width.isdecimal() and height.isdecimal()):
        raise InvalidRequest.single("size", f"write WIDTHxHEIGHT in pixels, such as 64x64, not {text!r}")
    return int(width), int(height)
