"""`diptych edit` and `diptych analyze`: one picture, by the editor alone."""

from pathlib import Path
from typing import Annotated, cast

import typer

from diptych.cli import terminal
from diptych.cli.direct import open_direct
from diptych.cli.failures import run
from diptych.cli.files import STDOUT, output_format, write_pictures
from diptych.cli.findings import show_findings
from diptych.cli.options import Address, AsJson, MaxSize, Timeout, max_bytes
from diptych.client import Metadata
from diptych.findings import AnalyzeResult
from diptych.inputs import read_picture
from diptych.operations import to_operations
from diptych.types import EditResult

File = Annotated[Path, typer.Argument(help="The picture.", show_default=False)]


def edit(
    file: File,
    operations: Annotated[
        list[str],
        typer.Argument(help="Edits in order, such as upscale:scale=4.", metavar="OPERATION[:key=value,...]..."),
    ],
    output: Annotated[
        str,
        typer.Option("--output", "-o", help="File to write (.png .jpg .webp .avif), or - for stdout.", metavar="OUT"),
    ],
    quality: Annotated[int | None, typer.Option(help="Of .jpg, .avif and .webp; default 90.", min=1, max=100)] = None,
    lossless: Annotated[bool, typer.Option("--lossless", help="Write .webp without loss.")] = False,
    metadata: Annotated[
        str | None,
        typer.Option(help="Of the file to keep: keep, strip_location or strip_all (default).", metavar="POLICY"),
    ] = None,
    max_size: MaxSize = None,
    dpi: Annotated[int | None, typer.Option(help="Dots per inch to print it with.", min=1, max=9600)] = None,
    json: AsJson = False,
    address: Address = None,
    timeout: Timeout = None,
) -> None:
    """Edit a picture, one operation after another.

    Examples: remove_background upscale:scale=4 color_correct:temperature=0.2 crop:box=10/20/200/100
    """
    wanted, most = output_format(output), max_bytes(max_size)
    picture, parsed = read_picture(file, "file"), to_operations(operations)

    async def work() -> EditResult:
        async with open_direct("editor", address) as client:
            with terminal.watching(quiet=json) as on_event:
                return await client.edit(
                    picture,
                    parsed,
                    format=wanted,
                    quality=quality,
                    lossless=lossless,
                    metadata=cast(Metadata | None, metadata),
                    max_bytes=most,
                    dpi=dpi,
                    on_event=on_event,
                    timeout=timeout,
                )

    result = run(work())
    paths = write_pictures(result, output)
    if json:
        fields = terminal.result_json(result, paths, records=result.records, marking=result.marking)
        terminal.print_json(fields, stderr=output == STDOUT)
        return
    out = terminal.console(stderr=output == STDOUT)
    terminal.show_records(out, result.records, result.marking)
    terminal.show_written(out, result, paths)


def analyze(file: File, json: AsJson = False, address: Address = None, timeout: Timeout = None) -> None:
    """Tell what is in a picture and how it is lit."""
    picture = read_picture(file, "file")

    async def work() -> AnalyzeResult:
        async with open_direct("editor", address) as client:
            return await client.analyze(picture, timeout=timeout)

    found = run(work())
    if json:
        terminal.print_json(found)
    else:
        show_findings(terminal.console(), found)
