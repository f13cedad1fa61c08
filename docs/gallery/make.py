"""Makes the gallery: runs each goal below on the three services, writes its picture and a line in this folder's README.

    make gallery

Seeds are fixed before anything is drawn: every picture is the first answer. Photographs are scikit-learn's samples.
"""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from sklearn.datasets import load_sample_image

from benchmarks.measuring import machine, started
from diptych.client import AsyncClient
from diptych.types import CreateResult

HERE = Path(__file__).resolve().parent
SEED = 1


@dataclass(frozen=True)
class Piece:
    """One picture of the gallery. `photo`: which of scikit-learn's photographs is attached."""

    name: str
    goal: str
    photo: str | None = None


PIECES = (
    Piece("apple", "draw a red apple icon, cut out the background and make it four times bigger"),
    Piece("star", "draw a yellow star on a blue background, then turn it by 30 degrees"),
    Piece("hearts", "draw a red heart icon and make it black and white"),
    Piece("flower-cutout", "cut out the flower", "flower.jpg"),
    Piece("flower-warm", "make it warmer and turn it by 90 degrees", "flower.jpg"),
    Piece("temple-square", "crop it square, then make it brighter", "china.jpg"),
)


async def make(client: AsyncClient, piece: Piece) -> str:
    """The gallery's row for a piece; its picture is written."""
    images = [] if piece.photo is None else [Image.fromarray(load_sample_image(piece.photo))]
    plan = await client.plan(piece.goal, images=images)
    message = plan.message
    for step in message.steps:
        if step.HasField("generate"):
            step.generate.seed = SEED
    message.digest = ""
    result: CreateResult = await client.run(message, images=images)
    result.images[0].save(HERE / f"{piece.name}.png")
    steps = " → ".join(f"{step.operation} ({step.service})" for step in plan.steps)
    models = ", ".join(dict.fromkeys(model.name for record in result.records for model in record.models))
    given = f" *({piece.photo})*" if piece.photo else ""
    picture = f'<img src="{piece.name}.png" width="240">'
    return f"| {picture} | *“{piece.goal}”*{given} | {steps} | {models} | {result.marking.label} |"


async def main() -> None:
    async with AsyncExitStack() as stack:
        peers = []
        for service in ("generator", "editor"):
            address = await stack.enter_async_context(started(service))
            peers += [f"--{service}-address", address]
        client = AsyncClient(await stack.enter_async_context(started("orchestrator", *peers)))
        await stack.enter_async_context(client)
        rows = [await make(client, piece) for piece in PIECES]
    head = f"# Gallery\n\nReal output, first answers (seed {SEED}), made by `make gallery`. {machine()}.\n"
    table = "| picture | goal | plan | models | marking |\n| --- | --- | --- | --- | --- |"
    tail = "The default generator's own sheet, one picture for each line of `training/generator/prompts.txt`:"
    (HERE / "README.md").write_text("\n".join([head, table, *rows, "", tail, "", "![sheet](generator.png)", ""]))


if __name__ == "__main__":
    asyncio.run(main())
