"""What a spec becomes, and what is wrong with it."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from diptych.errors import InvalidRequest, Unsupported
from diptych.images import to_message
from diptych.v1 import generator_pb2 as v1
from diptych.v1 import image_pb2
from services.generator.convert import Offer, Order, read_order

PIXELS = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
PICTURE = to_message(PIXELS)
WHITE = to_message(np.full((64, 64, 3), 255, np.uint8))
WIDE = to_message(np.zeros((20, 40, 4), np.uint8))


def order(offer: Offer, preview_interval: int = 0, **fields: Any) -> Order:
    return read_order(v1.GenerationSpec(**{"prompt": "a red apple", **fields}), preview_interval, offer)


def faults(offer: Offer, preview_interval: int = 0, **fields: Any) -> list[str]:
    with pytest.raises(InvalidRequest) as raised:
        order(offer, preview_interval, **fields)
    assert all(violation.description for violation in raised.value.violations)
    return [violation.field for violation in raised.value.violations]


def test_defaults_are_filled_in_and_echoed(offer: Offer) -> None:
    made = order(offer)
    (row,) = made.rows
    assert (row.width, row.height, row.num_inference_steps, row.guidance_scale) == (64, 64, 4, 3.0)
    assert row.noise_schedule == made.resolved.noise_schedule == "flow_match_euler"
    assert made.resolved.model.name == "tiny"
    assert made.resolved.seed == row.seed
    assert (made.resolved.num_images, made.resolved.num_inference_steps) == (1, 4)
    assert not made.resolved.HasField("strength")
    assert made.init_image is None


def test_what_is_said_is_taken(offer: Offer) -> None:
    made = order(
        offer,
        negative_prompt=" green ",
        num_inference_steps=200,
        guidance_scale=0.6,
        width=64,
        seed=5,
        noise_schedule="flow_match_euler",
        output=image_pb2.OutputOptions(format=image_pb2.IMAGE_FORMAT_WEBP, quality=7, lossless=True),
        preview_interval=3,
    )
    row = made.rows[0]
    assert (row.negative_prompt, row.num_inference_steps, row.guidance_scale, row.seed) == ("green", 200, 0.6, 5)
    assert (made.output.format, made.output.quality, made.output.lossless) == (image_pb2.IMAGE_FORMAT_WEBP, 7, True)
    assert made.preview_interval == 3


def test_each_picture_has_the_next_seed(offer: Offer) -> None:
    made = order(offer, seed=2**64 - 2, num_images=4)
    assert [row.seed for row in made.rows] == [2**64 - 2, 2**64 - 1, 0, 1]


def test_a_seed_left_out_is_drawn(offer: Offer) -> None:
    assert len({order(offer).resolved.seed for _ in range(4)}) == 4


def test_words_that_do_not_fit_are_told(offer: Offer) -> None:
    assert order(offer, prompt="a red apple on the big tree house").resolved.dropped_prompt == "tree house"


def test_an_init_image_is_scaled_and_mask_with_it(offer: Offer) -> None:
    black_left = np.zeros((20, 40, 3), np.uint8)
    black_left[:, 20:] = 255
    made = order(offer, init_image=WIDE, mask_image=to_message(black_left), strength=0.6, num_inference_steps=10)
    assert made.init_image is not None and made.mask is not None
    assert made.init_image.shape == (64, 64, 3)
    assert (made.init_image == 255).all()  # Transparent: laid on white.
    assert made.mask.shape == (64, 64)
    assert not made.mask[:, :32].any()
    assert (made.mask[:, 32:] == 1).all()
    assert made.resolved.strength == pytest.approx(0.6)
    assert made.resolved.num_inference_steps == 6


def test_an_init_image_of_the_right_size_is_not_touched(offer: Offer) -> None:
    made = order(offer, init_image=PICTURE)
    assert made.init_image is not None
    assert (made.init_image == PIXELS).all()
    assert made.resolved.strength == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"prompt": ""}, "spec.prompt"),
        ({"prompt": " \n\t"}, "spec.prompt"),
        ({"prompt": "x" * 4097}, "spec.prompt"),
        ({"prompt": "ä" * 2049}, "spec.prompt"),
        ({"negative_prompt": "x" * 4097}, "spec.negative_prompt"),
        ({"width": 0}, "spec.width"),
        ({"width": 65}, "spec.width"),
        ({"height": 2**32 - 1}, "spec.height"),
        ({"num_images": 0}, "spec.num_images"),
        ({"num_images": 17}, "spec.num_images"),
        ({"num_inference_steps": 0}, "spec.num_inference_steps"),
        ({"num_inference_steps": 201}, "spec.num_inference_steps"),
        ({"guidance_scale": math.nan}, "spec.guidance_scale"),
        ({"guidance_scale": math.inf}, "spec.guidance_scale"),
        ({"guidance_scale": -0.1}, "spec.guidance_scale"),
        ({"guidance_scale": 50.1}, "spec.guidance_scale"),
        ({"noise_schedule": "astrology"}, "spec.noise_schedule"),
        ({"strength": 0.5}, "spec.strength"),
        ({"mask_image": PICTURE}, "spec.mask_image"),
        ({"init_image": PICTURE, "strength": 1.01}, "spec.strength"),
        ({"init_image": PICTURE, "strength": math.nan}, "spec.strength"),
        ({"init_image": PICTURE, "mask_image": WIDE}, "spec.mask_image"),
        ({"init_image": image_pb2.Image()}, "spec.init_image.content"),
        ({"init_image": image_pb2.Image(content=PICTURE.content[:99])}, "spec.init_image.content"),
        ({"init_image": image_pb2.Image(content=b"x" * 1_000_001)}, "spec.init_image.content"),
        ({"init_image": PICTURE, "mask_image": image_pb2.Image(content=b"no")}, "spec.mask_image.content"),
        ({"output": {"format": 42}}, "spec.output.format"),
        ({"output": {"metadata": 42}}, "spec.output.metadata"),
        ({"output": {"quality": 0}}, "spec.output.quality"),
        ({"references": [{}] * 5}, "spec.references"),
        ({"preview_interval": 201}, "preview_interval"),
    ],
)
def test_a_fault_is_named(offer: Offer, fields: dict[str, Any], field: str) -> None:
    assert faults(offer, **fields) == [field]


def test_all_faults_are_named_at_once(offer: Offer) -> None:
    found = faults(offer, 999, prompt="", width=1, guidance_scale=math.nan, strength=3.0, num_images=99)
    expected = {"preview_interval", "spec.prompt", "spec.width", "spec.guidance_scale", "spec.num_images"}
    assert set(found) == expected | {"spec.strength"}


@pytest.mark.parametrize(
    "fields",
    [
        {"references": [v1.ReferenceImage(image=PICTURE, role=v1.REFERENCE_ROLE_STYLE)]},
        {"constraints": [v1.ConstraintImage(image=PICTURE, kind=v1.CONSTRAINT_KIND_EDGES)]},
        {"output": {"metadata": image_pb2.METADATA_POLICY_KEEP}},
    ],
)
def test_what_no_model_here_does_is_unsupported(offer: Offer, fields: dict[str, Any]) -> None:
    with pytest.raises(Unsupported, match="leave"):
        order(offer, **fields)


def test_a_model_without_encoder_takes_no_picture(offer: Offer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offer.pipeline._autoencoder, "_encoder", None)
    with pytest.raises(Unsupported, match="init_image"):
        order(replace(offer), init_image=PICTURE)
