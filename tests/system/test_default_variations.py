"""The default model varies pictures through the real service: the further it may leave one, the further it does.

Its student draws beside it, in the steps it was made for.
"""

from collections.abc import AsyncIterator

import numpy as np
import pytest
from PIL import Image, ImageDraw
from stack import Stack

from diptych.client import AsyncClient

STEPS = 8


def drawing() -> Image.Image:
    """A yellow disc with a brown stem on white, as the model's own drawings are."""
    picture = Image.new("RGB", (256, 256), "white")
    pen = ImageDraw.Draw(picture)
    pen.ellipse((60, 70, 196, 206), fill=(250, 200, 30))
    pen.line((128, 80, 140, 30), fill=(120, 70, 20), width=12)
    return picture


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(generator_address=stack.generator.address) as client:
        yield client


async def vary(client: AsyncClient, **fields: object) -> "np.ndarray[tuple[int, ...], np.dtype[np.int64]]":
    result = await client.generate(
        "a red apple", init_image=drawing(), seed=3, num_inference_steps=STEPS, timeout=600, **fields
    )  # type: ignore[arg-type]
    assert result.record.operation == "vary"
    return np.asarray(result.to_pil().convert("RGB")).astype(int)


async def test_strength_is_the_distance_from_the_picture(client: AsyncClient) -> None:
    before = np.asarray(drawing()).astype(int)
    apart = [np.abs(await vary(client, strength=strength) - before).mean() for strength in (0.2, 0.6, 1.0)]
    assert apart[0] < 12, "a light touch keeps the picture"
    assert apart[0] < apart[1] < apart[2]
    # At full strength the colour is the prompt's.
    middle = (await vary(client, strength=1.0))[96:180, 96:160].reshape(-1, 3).mean(0)
    assert middle[0] > middle[1] + 60


async def test_a_mask_binds_and_what_it_frees_is_drawn(client: AsyncClient) -> None:
    mask = Image.new("L", (256, 256), 0)
    mask.paste(255, (0, 0, 256, 128))
    before = np.asarray(drawing()).astype(int)
    after = await vary(client, mask_image=mask, strength=1.0)
    assert (after[128:] == before[128:]).all()
    assert np.abs(after[:128] - before[:128]).mean() > 5


async def test_the_student_draws_what_is_asked_for_in_eight_steps_without_guidance(client: AsyncClient) -> None:
    result = await client.generate("a red apple icon", model="diptych-icons-turbo", seed=1, timeout=600)
    assert (result.num_inference_steps, result.guidance_scale) == (8, 1.0)
    assert [model.name for model in result.record.models] == ["diptych-icons-turbo"]
    pixels = np.asarray(result.to_pil().convert("RGB")).astype(int)
    middle = pixels[96:180, 96:160].reshape(-1, 3).mean(0)
    assert middle[0] > 150 and middle[0] > middle[1] + 80 and middle[0] > middle[2] + 80
    assert pixels[:8].mean() > 235, "on white"
