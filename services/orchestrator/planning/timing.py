"""What a step costs, in numbers that can be compared: which kind of work it is, and how much of it.

An estimate and a measurement of one step use the same two functions, on what the plan says and on picture sizes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from diptych.v1 import image_pb2
from diptych.v1 import orchestrator_pb2 as v1
from services.orchestrator.planning.plan import action_of, operation_of, service_of

Size = tuple[int, int]

# What mixes the channels costs many times what moves each by itself; dearest first.
_COLOR_COSTS = (("hue", "color"), ("grayscale",), ("saturation", "vibrance"))
_FILM_SECONDS, _FILM_RATE = 4.0, 24.0  # the contract's defaults


@dataclass(frozen=True)
class CallTimed:
    """One call that was made: its steps, the pictures that went there, the records that came, and seconds in all."""

    steps: tuple[v1.PlanStep, ...]
    given: Sequence[image_pb2.Image]
    records: Sequence[image_pb2.StepRecord]
    output: image_pb2.ImageFormat.ValueType
    seconds: float


def kind_of(step: v1.PlanStep) -> str:
    """The name under which steps of like cost are kept: service, operation, model, and what else decides the cost."""
    action = action_of(step)
    parts = [service_of(step), operation_of(step)]
    if action in ("generate", "vary"):
        spec = getattr(step, action)
        given = [name for name in ("width", "height", "num_inference_steps", "strength") if spec.HasField(name)]
        parts += [spec.model or "default", "+".join(given)]
    elif action == "animate_latents":
        parts.append(step.animate_latents.model or "default")
    elif action == "edit":
        values = getattr(step.edit, operation_of(step))
        parts.append(getattr(values, "model", "") or "default")
        parts += [
            values.WhichOneof(oneof.name) or "" for oneof in values.DESCRIPTOR.oneofs if not oneof.name.startswith("_")
        ]
        if operation_of(step) == "upscale":
            parts.append("x2" if _factor(step, (1, 1)) <= 2 else "x4")
        if operation_of(step) == "color_correct":
            parts += [group[0] for group in _COLOR_COSTS if any(getattr(values, name) for name in group)][:1]
            parts += ["auto"] if values.auto else []
        if step.edit.HasField("selection"):
            parts.append(f"in {step.edit.selection.WhichOneof('target')}")
    elif action == "select":
        parts.append(step.select.selection.WhichOneof("target") or "")
    elif action == "analyze":
        parts += [str(kind) for kind in sorted(set(step.analyze.kinds))]
    return "/".join(part for part in parts if part)


def amount_of(step: v1.PlanStep, size: Size | None) -> float:
    """How much work of its kind a step is: megapixels, times pictures and denoising steps where it draws."""
    action = action_of(step)
    if action in ("generate", "vary"):
        spec = getattr(step, action)
        side = (spec.width or spec.height or 1000) / 1000, (spec.height or spec.width or 1000) / 1000
        return float(side[0] * side[1] * (spec.num_images or 1) * (spec.num_inference_steps or 1))
    if action in ("animate_image", "animate_latents"):
        film = getattr(step, action)
        seconds = film.duration.ToNanoseconds() / 1e9 if film.HasField("duration") else _FILM_SECONDS
        rate = film.frames_per_second if film.HasField("frames_per_second") else _FILM_RATE
        return seconds * rate * (megapixels(size) if action == "animate_image" else 1.0)
    if operation_of(step) in ("resize", "extend", "rotate"):
        return megapixels(size) + megapixels(size_after(step, size))
    return megapixels(size)


def size_after(step: v1.PlanStep, size: Size | None) -> Size | None:
    """Width and height of what a step makes of a picture; as it came where that cannot be told before."""
    if size is None or action_of(step) != "edit":
        return size
    width, height = size
    operation, values = operation_of(step), getattr(step.edit, operation_of(step))
    if operation == "upscale":
        factor = _factor(step, size)
        return round(width * factor), round(height * factor)
    if operation == "resize" and values.HasField("scale"):
        return round(width * values.scale), round(height * values.scale)
    if operation == "resize" and (values.width or values.height):
        return values.width or round(width * values.height / height), values.height or round(
            height * values.width / width
        )
    if operation == "crop" and values.HasField("box"):
        return values.box.width, values.box.height
    aspect = _aspect(values.aspect) if operation in ("crop", "extend") and values.aspect else None
    if aspect is not None and operation == "crop":
        return min(width, round(height * aspect)), min(height, round(width / aspect))
    if aspect is not None:
        return max(width, round(height * aspect)), max(height, round(width / aspect))
    if operation == "extend":
        return width + values.left + values.right, height + values.top + values.bottom
    if operation == "rotate" and round(values.angle) % 180 == 90:
        return height, width
    return size


def megapixels(size: Size | None) -> float:
    """Millions of pixels; 1 when the size is not known."""
    return size[0] * size[1] / 1e6 if size is not None else 1.0


def _factor(step: v1.PlanStep, size: Size) -> float:
    values = step.edit.upscale
    if values.HasField("width"):
        return max(1.0, values.width / size[0])
    if values.HasField("height"):
        return max(1.0, values.height / size[1])
    return values.scale if values.HasField("scale") else 2.0


def _aspect(text: str) -> float | None:
    width, _, height = text.partition(":")
    try:
        return float(Fraction(width) / Fraction(height))
    except (ValueError, ZeroDivisionError):
        return None
