"""What is said of a finished order: the step record, what it changed, and how the results must be labelled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from google.protobuf.duration_pb2 import Duration

from diptych.images import Pixels
from diptych.serving.context import RequestClock
from diptych.v1 import image_pb2
from services.generator.convert import Order

STEP_ID = "1"


@dataclass(frozen=True)
class Drawn:
    """One result (H, W, 3), and what was chosen for its file."""

    pixels: Pixels
    chosen: Mapping[str, str]


def step_record(order: Order, drawn: Sequence[Drawn], clock: RequestClock) -> image_pb2.StepRecord:
    """The record of `order`, whose results are `drawn`."""
    resolved, row = order.resolved, order.rows[0]
    parameters = {
        "prompt": row.prompt,
        "negative_prompt": row.negative_prompt,
        "num_images": str(resolved.num_images),
        "seed": str(resolved.seed),
        "num_inference_steps": str(resolved.num_inference_steps),
        "guidance_scale": f"{resolved.guidance_scale:g}",
        "noise_schedule": resolved.noise_schedule,
    }
    if resolved.HasField("strength"):
        parameters["strength"] = f"{resolved.strength:g}"
    for name in sorted({name for one in drawn for name in one.chosen}):
        parameters[name] = ", ".join(one.chosen.get(name, "-") for one in drawn)
    for name, words in (("read_prompt", resolved.read_prompt), ("dropped_prompt", resolved.dropped_prompt)):
        if words:
            parameters[name] = words
    return image_pb2.StepRecord(
        step_id=STEP_ID,
        service="generator",
        operation="generate" if order.init_image is None else "vary",
        models=[resolved.model],
        timing=timing(clock),
        width=resolved.width,
        height=resolved.height,
        effect=_effect(order, drawn),
        parameters=parameters,
    )


def marking(order: Order) -> image_pb2.MarkingVerdict:
    """GENERATED when every pixel left the decoder, also when the latents began as the caller's picture;
    PARTLY_GENERATED when a mask kept some; STANDARD_EDIT when none was drawn anew."""
    mask = order.mask
    untouched = order.init_image is not None and order.resolved.num_inference_steps == 0
    if untouched or (mask is not None and mask.max() == 0):
        return image_pb2.MarkingVerdict(marking=image_pb2.MARKING_STANDARD_EDIT)
    kept_some = mask is not None and mask.min() < 1
    label = image_pb2.MARKING_PARTLY_GENERATED if kept_some else image_pb2.MARKING_GENERATED
    return image_pb2.MarkingVerdict(marking=label, step_ids=[STEP_ID])


def seconds(value: float) -> Duration:
    """A protobuf duration."""
    duration = Duration()
    duration.FromNanoseconds(round(value * 1e9))
    return duration


def timing(clock: RequestClock) -> image_pb2.Timing:
    """Where the time went. Previews and steps of one request overlap, so the parts are kept within the whole."""
    total = clock.total_seconds()
    compute = min(clock.compute_seconds, total)
    queue = min(clock.queue_seconds, total - compute)
    return image_pb2.Timing(queue=seconds(queue), compute=seconds(compute), total=seconds(total))


def _effect(order: Order, drawn: Sequence[Drawn]) -> image_pb2.EffectReport | None:
    """What changed between the init image and the results, all of them taken together; None without init image."""
    if order.init_image is None:
        return None
    difference = np.abs(np.stack([one.pixels for one in drawn]).astype(np.int16) - order.init_image.astype(np.int16))
    changed = difference.max(axis=(0, 3)) > 0
    report = image_pb2.EffectReport(
        effect=image_pb2.EFFECT_CHANGED if changed.any() else image_pb2.EFFECT_NO_EFFECT,
        changed_fraction=float(changed.mean()),
        mean_difference=float(difference.mean()),
    )
    if changed.any():
        rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
        report.changed_region.x, report.changed_region.y = int(columns[0]), int(rows[0])
        report.changed_region.width = int(columns[-1] - columns[0] + 1)
        report.changed_region.height = int(rows[-1] - rows[0] + 1)
    if order.mask is not None:
        report.max_difference_outside = int(difference[:, order.mask == 0].max(initial=0))
    return report
