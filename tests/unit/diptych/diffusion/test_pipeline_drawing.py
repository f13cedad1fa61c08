"""What one row becomes: against a plain loop, from a picture, inside a mask."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from diptych.diffusion import Defaults, Pipeline, Row, RowSpec, open_pipeline
from diptych.diffusion.latents import draw_noise

SPEC = RowSpec("a red apple", 64, 64, 7, 5, 3.0, "flow_match_euler")
PICTURE = np.random.default_rng(3).integers(0, 256, (64, 64, 3), np.uint8)


def drawn(pipeline: Pipeline, spec: RowSpec) -> Row:
    row = pipeline.prepare(spec)
    while not row.finished:
        pipeline.step([row])
    return row


def test_it_is_the_plain_euler_loop(pipeline: Pipeline, tiny_folder: Path) -> None:
    unet = onnxruntime.InferenceSession(str(tiny_folder / "unet/model.onnx"))
    states = np.stack([pipeline._conditioner.positive(prompt)["encoder_hidden_states"] for prompt in ("", SPEC.prompt)])
    latents = draw_noise(7, (4, 8, 8))
    sigmas = np.array([1, 0.8, 0.6, 0.4, 0.2, 0], np.float32)
    for now, after in pairwise(sigmas):
        level = np.full(2, now * 1000, np.float32)
        inputs = {"sample": np.stack([latents] * 2), "timestep": level, "encoder_hidden_states": states}
        negative, positive = unet.run(None, inputs)[0]
        latents = latents + (after - now) * (negative + 3 * (positive - negative))
    assert np.abs(drawn(pipeline, SPEC).latents - latents).max() < 1e-4


def test_a_seed_repeats_and_another_does_not(pipeline: Pipeline) -> None:
    first, again, other = (drawn(pipeline, replace(SPEC, seed=seed)) for seed in (7, 7, 8))
    assert (pipeline.finish(first) == pipeline.finish(again)).all()
    assert (pipeline.finish(first) != pipeline.finish(other)).any()


def test_prompt_negative_prompt_and_guidance_count(pipeline: Pipeline) -> None:
    specs = [
        SPEC,
        replace(SPEC, prompt="a blue cat"),
        replace(SPEC, negative_prompt="green"),
        replace(SPEC, guidance_scale=1.0),
        replace(SPEC, guidance_scale=5.0),
    ]
    assert len({drawn(pipeline, spec).latents.tobytes() for spec in specs}) == len(specs)


def test_without_guidance_the_negative_prompt_is_idle(pipeline: Pipeline) -> None:
    plain = replace(SPEC, guidance_scale=1.0)
    row = drawn(pipeline, plain)
    assert (row.latents == drawn(pipeline, replace(plain, negative_prompt="green")).latents).all()


def test_the_guidance_interval_leaves_the_other_steps_alone(tiny_folder: Path) -> None:
    pipeline = open_pipeline(tiny_folder, Defaults(4, 3.0, (0.3, 0.7)), threads=1)
    row = pipeline.prepare(SPEC)
    pairs = []
    while not row.finished:
        pairs.append(len(row.conditions))
        pipeline.step([row])
    pipeline.close()
    assert pairs == [1, 1, 2, 2, 1]


def test_the_preview_heads_for_the_result(pipeline: Pipeline) -> None:
    row = pipeline.prepare(SPEC)
    distances = []
    final = pipeline.finish(drawn(pipeline, SPEC)).astype(int)
    while not row.finished:
        pipeline.step([row])
        distances.append(np.abs(pipeline.preview(row) - final).mean())
    assert distances[-1] < 0.01
    assert distances[-1] < distances[-2] < distances[0]


@pytest.mark.parametrize(("strength", "steps"), [(0.0, 0), (0.2, 1), (0.6, 3), (0.61, 4), (1.0, 5)])
def test_strength_is_the_part_of_the_steps_that_runs(pipeline: Pipeline, strength: float, steps: int) -> None:
    row = pipeline.prepare(replace(SPEC, init_image=PICTURE, strength=strength))
    assert row.num_steps == steps


def test_strength_nought_keeps_the_picture_and_one_forgets_it(pipeline: Pipeline) -> None:
    kept = drawn(pipeline, replace(SPEC, init_image=PICTURE, strength=0.0))
    assert (pipeline.finish(kept) == PICTURE).all()
    forgotten = drawn(pipeline, replace(SPEC, init_image=PICTURE, strength=1.0))
    assert (forgotten.latents == drawn(pipeline, SPEC).latents).all()


def test_image_to_image_stays_nearer_the_less_strength_it_has(pipeline: Pipeline) -> None:
    clean = pipeline._autoencoder.encode(PICTURE)
    distances = [
        np.abs(drawn(pipeline, replace(SPEC, init_image=PICTURE, strength=strength)).latents - clean).mean()
        for strength in (0.2, 0.6, 1.0)
    ]
    assert distances == sorted(distances)


def test_inpainting_keeps_every_bit_outside_its_mask(pipeline: Pipeline) -> None:
    mask = np.zeros((64, 64), np.float32)
    mask[20:41, 8:33] = 1
    mask[41, 8:33] = 0.5
    row = drawn(pipeline, replace(SPEC, init_image=PICTURE, strength=1.0, mask=mask))
    result = pipeline.finish(row)
    assert (result[mask == 0] == PICTURE[mask == 0]).all()
    assert (result[mask == 1] != PICTURE[mask == 1]).any(axis=1).mean() > 0.9
    # Cells that no white pixel touches keep the picture's own latents, so the drawing meets them smoothly.
    assert np.allclose(row.latents[:, 6:], pipeline._autoencoder.encode(PICTURE)[:, 6:], atol=1e-5)
    assert not np.allclose(row.latents[:, 3:5, 2:4], pipeline._autoencoder.encode(PICTURE)[:, 3:5, 2:4], atol=1e-2)


def test_a_black_mask_changes_nothing(pipeline: Pipeline) -> None:
    mask = np.zeros((64, 64), np.float32)
    row = drawn(pipeline, replace(SPEC, init_image=PICTURE, strength=1.0, mask=mask))
    assert (pipeline.finish(row) == PICTURE).all()


def test_it_says_which_sizes_it_draws(pipeline: Pipeline) -> None:
    assert pipeline.sizes.native == (64, 64)
    assert pipeline.sizes.fault("width", 64) == ""
    assert "64" in pipeline.sizes.fault("width", 72)
