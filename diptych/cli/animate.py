"""`diptych animate FILE`: a still set in motion, by the editor alone."""

from pathlib import Path
from typing import Annotated, cast

import typer

from diptych.cli import terminal
from diptych.cli.direct import open_direct
from diptych.cli.failures import run
from diptych.cli.files import film_format
from diptych.cli.options import Address, AsJson, Timeout
from diptych.client import Motion
from diptych.inputs import read_picture
from diptych.types import FilmResult


def animate(
    file: Annotated[Path, typer.Argument(help="The picture.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write (.mp4 .webp).", metavar="OUT")],
    motion: Annotated[str, typer.Option(help="pan, zoom_in, zoom_out or orbit.")] = "zoom_in",
    amount: Annotated[float | None, typer.Option(help="How far, 0 to 1.")] = None,
    duration: Annotated[float | None, typer.Option(help="Length of the film, seconds.")] = None,
    fps: Annotated[float | None, typer.Option(help="Frames per second.")] = None,
    parallax: Annotated[bool | None, typer.Option(help="Move the subject before its background.")] = None,
    direction: Annotated[float | None, typer.Option(help="Of a pan, degrees clockwise; 0 is to the right.")] = None,
    max_side: Annotated[int | None, typer.Option(help="Long side of the film, pixels.")] = None,
    json: AsJson = False,
    address: Address = None,
    timeout: Timeout = None,
) -> None:
    """Set a picture in motion.

    Example: photo.jpg --motion orbit --duration 5 -o film.mp4
    """
    wanted = film_format(output)
    picture = read_picture(file, "file")

    async def work() -> FilmResult:
        async with open_direct("editor", address) as client:
            with terminal.watching(quiet=json) as on_event:
                return await client.animate(
                    picture,
                    motion=cast(Motion, motion),
                    amount=amount,
                    duration=duration,
                    frames_per_second=fps,
                    parallax=parallax,
                    direction=direction,
                    max_side=max_side,
                    format=wanted,
                    on_event=on_event,
                    timeout=timeout,
                )

    terminal.show_film(run(work()), output, as_json=json)
