"""Records and labels of finished orders."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from diptych.images import to_message
from diptych.serving.context import RequestClock
from diptych.v1 import generator_pb2, image_pb2
from services.generator.convert import Offer, Order, read_order
from services.generator.records import Drawn, marking, step_record

PIXELS = np.full((64, 64, 3), 100, np.uint8)
MASK = np.zeros((64, 64, 3), np.uint8)
MASK[10:20, 30:50] = 255
DRAWN = PIXELS.copy()
DRAWN[12, 31] = 110


def order(offer: Offer, **fields: Any) -> Order:
    return read_order(generator_pb2.GenerationSpec(prompt="a red apple", seed=9, **fields), 0, offer)


def test_a_record_says_what_was_done(offer: Offer) -> None:
    record = step_record(
        order(offer, num_images=2),
        [Drawn(PIXELS, {}), Drawn(DRAWN, {"output_quality": "40"})],
        RequestClock(queue_seconds=1e9),
    )
    assert (record.service, record.operation, record.step_id) == ("generator", "generate", "1")
    assert [model.name for model in record.models] == ["tiny"]
    assert dict(record.parameters) == {
        "prompt": "a red apple",
        "negative_prompt": "",
        "num_images": "2",
        "seed": "9",
        "output_quality": "-, 40",
        "num_inference_steps": "4",
        "guidance_scale": "3",
        "noise_schedule": "flow_match_euler",
    }
    assert not record.HasField("effect")
    parts = record.timing.queue.ToNanoseconds() + record.timing.compute.ToNanoseconds()
    assert 0 < parts <= record.timing.total.ToNanoseconds() + 2


def test_a_variation_is_measured_against_its_picture(offer: Offer) -> None:
    made = order(offer, init_image=to_message(PIXELS), mask_image=to_message(MASK))
    record = step_record(made, [Drawn(DRAWN, {})], RequestClock())
    effect = record.effect
    assert record.operation == "vary"
    assert record.parameters["strength"] == "0.6"
    assert effect.effect == image_pb2.EFFECT_CHANGED
    assert effect.changed_fraction == pytest.approx(1 / 64**2)
    assert effect.mean_difference == pytest.approx(10 / 64**2)
    assert effect.changed_region == image_pb2.Box(x=31, y=12, width=1, height=1)
    assert effect.max_difference_outside == 0


def test_a_leak_outside_the_mask_would_be_told(offer: Offer) -> None:
    leaking = DRAWN.copy()
    leaking[0, 0] = 107
    made = order(offer, init_image=to_message(PIXELS), mask_image=to_message(MASK))
    assert step_record(made, [Drawn(leaking, {})], RequestClock()).effect.max_difference_outside == 7


def test_no_change_is_no_effect(offer: Offer) -> None:
    made = order(offer, init_image=to_message(PIXELS), strength=0.0)
    effect = step_record(made, [Drawn(PIXELS, {})], RequestClock()).effect
    assert effect.effect == image_pb2.EFFECT_NO_EFFECT
    assert not effect.HasField("changed_region")
    assert not effect.HasField("max_difference_outside")


@pytest.mark.parametrize(
    ("fields", "label"),
    [
        ({}, image_pb2.MARKING_GENERATED),
        ({"init_image": to_message(PIXELS), "strength": 0.1}, image_pb2.MARKING_GENERATED),
        ({"init_image": to_message(PIXELS), "mask_image": to_message(MASK)}, image_pb2.MARKING_PARTLY_GENERATED),
        ({"init_image": to_message(PIXELS), "mask_image": to_message(MASK | 255)}, image_pb2.MARKING_GENERATED),
        ({"init_image": to_message(PIXELS), "mask_image": to_message(MASK & 0)}, image_pb2.MARKING_STANDARD_EDIT),
        ({"init_image": to_message(PIXELS), "strength": 0.0}, image_pb2.MARKING_STANDARD_EDIT),
    ],
)
def test_the_label_follows_the_pixels(offer: Offer, fields: dict[str, Any], label: int) -> None:
    verdict = marking(order(replace(offer), **fields))
    assert verdict.marking == label
    assert list(verdict.step_ids) == ([] if label == image_pb2.MARKING_STANDARD_EDIT else ["1"])
