"""`diptych animate-latents PROMPT PROMPT...`: a film through latent space, by the generator alone."""

from pathlib import Path
from typing import Annotated

import typer

from diptych.cli import terminal
from diptych.cli.direct import open_direct
from diptych.cli.failures import run
from diptych.cli.files import film_format
from diptych.cli.options import Address, AsJson, Timeout, size
from diptych.types import FilmResult


def animate_latents(
    prompts: Annotated[list[str], typer.Argument(help="Places to pass, in order; two or more.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write (.mp4 .webp).", metavar="OUT")],
    seed: Annotated[
        list[int] | None, typer.Option(help="Starts the noise; once for all places, or once for each.", min=0)
    ] = None,
    duration: Annotated[float | None, typer.Option(help="Length of the film, seconds.")] = None,
    fps: Annotated[float | None, typer.Option(help="Frames per second.")] = None,
    loop: Annotated[bool, typer.Option(help="Return to the first place at the end.")] = True,
    steps: Annotated[int | None, typer.Option(help="Denoising steps a frame.", min=1)] = None,
    guidance: Annotated[float | None, typer.Option(help="How strictly to follow the prompts.")] = None,
    size_: Annotated[str | None, typer.Option("--size", help="Pixels.", metavar="WxH")] = None,
    negative: Annotated[str, typer.Option(help="What not to draw.")] = "",
    model: Annotated[str, typer.Option(help="Model; see diptych models list.")] = "",
    json: AsJson = False,
    address: Address = None,
    timeout: Timeout = None,
) -> None:
    """Draw a film that walks from prompt to prompt.

    Example: "a red apple" "a smiling sun" "a green tree" --seed 1 -o walk.mp4
    """
    wanted = film_format(output)
    width, height = size(size_)

    async def work() -> FilmResult:
        async with open_direct("generator", address) as client:
            with terminal.watching(quiet=json) as on_event:
                return await client.animate_latents(
                    prompts,
                    seeds=seed or (),
                    negative_prompt=negative,
                    model=model,
                    width=width,
                    height=height,
                    num_inference_steps=steps,
                    guidance_scale=guidance,
                    duration=duration,
                    frames_per_second=fps,
                    loop=loop,
                    format=wanted,
                    on_event=on_event,
                    timeout=timeout,
                )

    terminal.show_film(run(work()), output, as_json=json)
