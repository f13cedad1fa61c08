"""From `GenerationSpec` to an order that can be drawn: every fault at once, every default filled in."""

import math
import secrets
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from PIL import Image as PillowImage

from diptych.diffusion import Pipeline, RowSpec
from diptych.diffusion.row import Control
from diptych.diffusion.schedules import steps_to_take
from diptych.errors import FieldViolation, InvalidRequest, Unsupported
from diptych.images import ImageLimits, Mask, Pixels, decode_mask, flatten, from_message, output_faults
from diptych.outputs import Output
from diptych.v1 import generator_pb2, image_pb2
from services.generator.constraints import fit, read_constraints
from services.generator.references import read_reference

_MOST_PROMPT_BYTES = 4096
_MOST_IMAGES = 16
MOST_STEPS = 200
MOST_GUIDANCE = 50.0
_MOST_GUIDES = 4
_DEFAULT_STRENGTH = 0.6
_SEEDS = 2**64
_STRIPPED = (image_pb2.METADATA_POLICY_UNSPECIFIED, image_pb2.METADATA_POLICY_STRIP_ALL)


@dataclass(frozen=True)
class Offer:
    """What is drawn with, and how large a picture may come in."""

    pipeline: Pipeline
    model: image_pb2.ModelRef
    limits: ImageLimits


@dataclass(frozen=True)
class Order:
    """A request as it will be run: one row a picture, and the same in the contract's words.

    `num_calls` of the denoiser are made for each picture: schedules of second order take two a step.
    """

    rows: tuple[RowSpec, ...]
    resolved: generator_pb2.ResolvedGeneration
    output: Output
    preview_interval: int
    num_calls: int

    @property
    def init_image(self) -> Pixels | None:
        """The picture that all rows start from, scaled to their size."""
        return self.rows[0].init_image

    @property
    def mask(self) -> Mask | None:
        """What of it is redrawn."""
        return self.rows[0].mask


@dataclass
class Reader:
    """Reads one message; faults are collected and valid stand-ins returned, so that reading goes on to the next field.

    `prefix` is the message's own path in the request.
    """

    spec: Any
    offer: Offer
    prefix: str = "spec."
    faults: list[FieldViolation] = field(default_factory=list)

    def fault(self, name: str, description: str) -> None:
        """Takes down what is wrong with a field."""
        self.faults.append(FieldViolation(f"{self.prefix}{name}", description))

    def prompt(self, name: str, *, required: bool) -> str:
        """The text without blanks around it."""
        text: str = getattr(self.spec, name)
        size = len(text.encode())
        if size > _MOST_PROMPT_BYTES:
            self.fault(name, f"has {size} bytes; give at most {_MOST_PROMPT_BYTES}")
            return ""
        if required and not text.strip():
            self.fault(name, "is empty; say what to draw")
        return text.strip()

    def count(self, name: str, default: int, most: int) -> int:
        """A whole number from 1 to `most`."""
        if not self.spec.HasField(name):
            return default
        value: int = getattr(self.spec, name)
        if not 1 <= value <= most:
            self.fault(name, f"is {value}; give 1 to {most}")
            return default
        return value

    def number(self, name: str, default: float, most: float, *, least: float = 0.0) -> float:
        """A number from `least` to `most`."""
        if not self.spec.HasField(name):
            return default
        # To six digits: 0.6 travels as 0.60000002.
        value = float(getattr(self.spec, name))
        if not (math.isfinite(value) and least <= value <= most):
            self.fault(name, f"is {value:g}; give a number from {least:g} to {most:g}")
            return default
        return round(value, 6)

    def side(self, name: Literal["width", "height"], default: int) -> int:
        """A width or height that the model draws."""
        if not self.spec.HasField(name):
            return default
        value: int = getattr(self.spec, name)
        if fault := self.offer.pipeline.sizes.fault(name, value):
            self.fault(name, fault)
            return default
        return value

    def noise_schedule(self) -> str:
        """One of the model's."""
        names = self.offer.pipeline.schedule_names
        if self.spec.noise_schedule and self.spec.noise_schedule not in names:
            self.fault("noise_schedule", f"is {self.spec.noise_schedule[:40]!r}; choose {', '.join(names)}")
        return self.spec.noise_schedule or self.offer.pipeline.default_schedule

    def steps_of(self, row: RowSpec) -> None:
        """Faults more steps than the row's noise schedule can take."""
        if fault := self.offer.pipeline.schedules.fault(row.noise_schedule, row.num_inference_steps):
            self.fault("num_inference_steps", f"is {row.num_inference_steps}, which {fault}")

    def output(self) -> Output:
        """How pictures are written."""
        asked = self.spec.output
        for fault in output_faults(asked):
            self.fault(f"output.{fault.field}", fault.description)
        return Output.of(asked)

    def pictures(self) -> tuple[Pixels | None, Mask | None]:
        """Init image (H, W, 3) and mask (H, W) in their own size; a picture with alpha is laid on white."""
        spec, limits = self.spec, self.offer.limits
        if not spec.HasField("init_image"):
            for name in ("mask_image", "strength"):
                if spec.HasField(name):
                    self.fault(name, "needs init_image; give the picture as well")
            return None, None
        pixels = mask = None
        try:
            pixels = flatten(from_message(spec.init_image, field="spec.init_image", limits=limits))
            if spec.HasField("mask_image"):
                size = (pixels.shape[1], pixels.shape[0])
                mask = decode_mask(spec.mask_image, size, field="spec.mask_image", limits=limits)
        except InvalidRequest as error:
            self.faults.extend(error.violations)
        return pixels, mask

    def guides(self) -> None:
        """Counts reference and constraint pictures."""
        for name in ("references", "constraints"):
            if len(getattr(self.spec, name)) > _MOST_GUIDES:
                self.fault(name, f"has {len(getattr(self.spec, name))} pictures; give at most {_MOST_GUIDES}")


def read_order(spec: generator_pb2.GenerationSpec, preview_interval: int, offer: Offer) -> Order:
    """The order that a spec stands for. Decodes pictures, so not for the event loop.

    InvalidRequest with every fault; Unsupported for what the contract names and the model does not do.
    """
    reader = Reader(spec, offer)
    defaults, sizes = offer.pipeline.defaults, offer.pipeline.sizes
    if preview_interval > MOST_STEPS:
        reader.faults.append(FieldViolation("preview_interval", f"is {preview_interval}; give 0 to {MOST_STEPS}"))
    init_image, mask = reader.pictures()
    row = RowSpec(
        prompt=reader.prompt("prompt", required=True),
        negative_prompt=reader.prompt("negative_prompt", required=False),
        width=reader.side("width", sizes.native[0]),
        height=reader.side("height", sizes.native[1]),
        seed=spec.seed if spec.HasField("seed") else secrets.randbits(32),
        num_inference_steps=reader.count("num_inference_steps", defaults.num_inference_steps, MOST_STEPS),
        guidance_scale=reader.number("guidance_scale", defaults.guidance_scale, MOST_GUIDANCE),
        noise_schedule=reader.noise_schedule(),
        strength=reader.number("strength", _DEFAULT_STRENGTH, 1.0),
    )
    num_images = reader.count("num_images", 1, _MOST_IMAGES)
    output = reader.output()
    reader.guides()
    reader.steps_of(row)
    served = offer.pipeline.control_kinds
    controls = read_constraints(spec, served, offer.limits, reader.faults) if served else ()
    reference = read_reference(spec, offer.limits, reader.faults) if offer.pipeline.takes_references else None
    if reader.faults:
        raise InvalidRequest(reader.faults)
    _check_support(spec, offer)
    rows = _rows(replace(row, reference=reference), num_images, init_image, mask, controls)
    return Order(
        rows=rows,
        resolved=_resolved(row, num_images, offer, varies=init_image is not None),
        output=output,
        preview_interval=preview_interval,
        num_calls=offer.pipeline.num_calls(rows[0]),
    )


def _check_support(spec: generator_pb2.GenerationSpec, offer: Offer) -> None:
    model = offer.model.name
    if spec.references and not offer.pipeline.takes_references:
        raise Unsupported(f"model {model} takes no reference pictures; leave references out")
    if spec.constraints and not offer.pipeline.control_kinds:
        raise Unsupported(f"model {model} takes no constraint pictures; leave constraints out")
    if spec.HasField("init_image") and not offer.pipeline.takes_pictures:
        raise Unsupported(f"model {model} draws from words alone; leave init_image out")
    if spec.output.metadata not in _STRIPPED:
        raise Unsupported("a generated picture keeps no metadata of its input; leave output.metadata out")


def _rows(
    row: RowSpec, num_images: int, init_image: Pixels | None, mask: Mask | None, controls: tuple[Control, ...]
) -> tuple[RowSpec, ...]:
    size = (row.width, row.height)
    parts = {
        "init_image": None if init_image is None else _scaled(init_image, size),
        "mask": None if mask is None else _scaled(mask, size),
        "controls": tuple(fit(control, size) for control in controls),
    }
    shared = {**vars(row), **parts}
    return tuple(RowSpec(**{**shared, "seed": (row.seed + index) % _SEEDS}) for index in range(num_images))


def _scaled(
    pixels: Pixels | Mask, size: tuple[int, int]
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8 | np.float32]]:
    """The picture or mask at `size` (width, height); the same one when it has it."""
    if (pixels.shape[1], pixels.shape[0]) == size:
        return pixels
    # A mask must not overshoot as Lanczos does.
    method = PillowImage.Resampling.LANCZOS if pixels.ndim == 3 else PillowImage.Resampling.BOX
    return np.asarray(PillowImage.fromarray(pixels).resize(size, method))


def _resolved(row: RowSpec, num_images: int, offer: Offer, *, varies: bool) -> generator_pb2.ResolvedGeneration:
    read = offer.pipeline.read(row.prompt)
    return generator_pb2.ResolvedGeneration(
        model=offer.model,
        width=row.width,
        height=row.height,
        num_images=num_images,
        seed=row.seed,
        num_inference_steps=steps_to_take(row.num_inference_steps, row.strength if varies else 1.0),
        guidance_scale=row.guidance_scale,
        noise_schedule=row.noise_schedule,
        strength=row.strength if varies else None,
        dropped_prompt=offer.pipeline.unseen(row.prompt),
        read_prompt=read if read != row.prompt else "",
    )
