"""`diptych generate PROMPT`: pictures from words, by the generator alone."""

from pathlib import Path
from typing import Annotated, Any

import typer

from diptych.cli import terminal
from diptych.cli.direct import open_direct
from diptych.cli.failures import run
from diptych.cli.files import STDOUT, output_format, write_pictures
from diptych.cli.options import Address, AsJson, MaxSize, Output, Timeout, max_bytes, size
from diptych.errors import InvalidRequest
from diptych.guides import Constraint, Reference
from diptych.types import GenerateResult

_SUCH_AS = {"--reference": "style=painting.png", "--constraint": "edges=house.png"}


def generate(
    prompt: Annotated[str, typer.Argument(help="What to draw.", show_default=False)],
    output: Output = None,
    max_size: MaxSize = None,
    seed: Annotated[int | None, typer.Option(help="Starts the noise; repeats a picture.", min=0)] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps.", min=1)] = None,
    guidance: Annotated[float | None, typer.Option(help="How strictly to follow the prompt.")] = None,
    size_: Annotated[str | None, typer.Option("--size", help="Pixels.", metavar="WxH")] = None,
    count: Annotated[int, typer.Option(help="How many pictures.", min=1)] = 1,
    negative: Annotated[str, typer.Option(help="What not to draw.")] = "",
    init: Annotated[Path | None, typer.Option(help="A picture to start from.", metavar="FILE")] = None,
    strength: Annotated[float | None, typer.Option(help="How far to leave --init: 0 keeps it, 1 forgets it.")] = None,
    mask: Annotated[Path | None, typer.Option(help="Redraw --init where this is white.", metavar="FILE")] = None,
    reference: Annotated[
        list[str] | None, typer.Option(help="A picture whose style or subject to take.", metavar="ROLE=FILE")
    ] = None,
    reference_scale: Annotated[float | None, typer.Option(help="How much of it: 0 nothing, 1 all, 2 more.")] = None,
    constraint: Annotated[
        list[str] | None,
        typer.Option(help="A picture whose edges, depth or pose to keep; repeat.", metavar="KIND=FILE"),
    ] = None,
    constraint_scale: Annotated[float | None, typer.Option(help="How strictly: 0 not at all, 1, 2.")] = None,
    schedule: Annotated[str, typer.Option(help="Noise schedule, by diffusers' name.")] = "",
    model: Annotated[str, typer.Option(help="Model; see diptych models list.")] = "",
    json: AsJson = False,
    address: Address = None,
    timeout: Timeout = None,
) -> None:
    """Draw pictures from a prompt."""
    wanted, most, (width, height) = output_format(output), max_bytes(max_size), size(size_)
    references = [Reference(*_picture_of(text, "--reference"), reference_scale) for text in reference or ()]
    constraints = [Constraint(*_picture_of(text, "--constraint"), constraint_scale) for text in constraint or ()]
    _check_stdout(output, count)

    async def work() -> GenerateResult:
        async with open_direct("generator", address) as client:
            with terminal.watching(quiet=json) as on_event:
                return await client.generate(
                    prompt,
                    negative_prompt=negative,
                    model=model,
                    width=width,
                    height=height,
                    num_images=count,
                    seed=seed,
                    num_inference_steps=steps,
                    guidance_scale=guidance,
                    noise_schedule=schedule,
                    init_image=init,
                    strength=strength,
                    mask_image=mask,
                    references=references,
                    constraints=constraints,
                    format=wanted,
                    max_bytes=most,
                    on_event=on_event,
                    timeout=timeout,
                )

    _show(run(work()), output, json=json)


def _check_stdout(output: str | None, count: int) -> None:
    if output == STDOUT and count > 1:
        raise InvalidRequest.single("count", "stdout takes one picture; name a file for more")


def _show(result: GenerateResult, output: str | None, *, json: bool) -> None:
    """Writes the pictures and tells where they are."""
    paths = write_pictures(result, output)
    if json:
        fields = terminal.result_json(result, paths, record=result.record, marking=result.marking, seed=result.seed)
        terminal.print_json(fields, stderr=output == STDOUT)
        return
    out = terminal.console(stderr=output == STDOUT)
    if result.read_prompt:
        terminal.console(stderr=True).print(f"note: the model read: {result.read_prompt}", soft_wrap=True)
    if result.dropped_prompt:
        terminal.console(stderr=True).print(f"note: the model did not read: {result.dropped_prompt}", soft_wrap=True)
    terminal.show_records(out, result.records, result.marking)
    terminal.show_written(out, result, paths)


def _picture_of(text: str, option: str) -> tuple[Path, Any]:
    """The file and what it is for, of "WHAT=FILE"."""
    what, separator, file = text.partition("=")
    if not separator:
        raise InvalidRequest.single(option, f"is {text!r}; give WHAT=FILE, such as {_SUCH_AS[option]}")
    return Path(file), what
