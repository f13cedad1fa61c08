"""Text to image, image to image and inpainting with one latent diffusion model: prepare, step, finish."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from diptych.diffusion.conditioning import EMBEDDED_GUIDANCE, Condition, Conditioner, extra_inputs
from diptych.diffusion.control import ControlNets
from diptych.diffusion.denoiser import Denoiser
from diptych.diffusion.guidance import Guidance
from diptych.diffusion.latents import Autoencoder, draw_noise, paste, shrink_mask
from diptych.diffusion.preview import PreviewMap
from diptych.diffusion.references import References
from diptych.diffusion.row import Kept, Row, RowSpec
from diptych.diffusion.schedules import NoiseSchedule, ScheduleSettings
from diptych.diffusion.walk import lerp, slerp
from diptych.engines.base import Array, Engine
from diptych.errors import FailedPrecondition
from diptych.images import Pixels

# Beyond a few times the trained size a network only repeats itself, at a cost that grows with the square of the area.
_LARGEST_OF_NATIVE = 4


@dataclass(frozen=True)
class Defaults:
    """What a request that does not say gets. `guidance_interval` in noise levels, 0 to 1."""

    num_inference_steps: int
    guidance_scale: float
    guidance_interval: tuple[float, float] = (0.0, 1.0)

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> "Defaults":
        """From a manifest's `[defaults]`; FailedPrecondition names the key at fault."""
        low, high = table.get("guidance_interval", (0.0, 1.0))
        try:
            return cls(int(table["num_inference_steps"]), float(table["guidance_scale"]), (float(low), float(high)))
        except KeyError as error:
            raise FailedPrecondition(
                f"the manifest's [defaults] lack {error.args[0]}; add it", reason="MANIFEST_INVALID"
            ) from error


@dataclass(frozen=True)
class Sizes:
    """What a model draws, in pixels: `native` (width, height) by default; unless `fixed`, also other multiples of
    `granularity` up to `most` a side."""

    native: tuple[int, int]
    granularity: int
    most: int
    fixed: bool

    def fault(self, side: Literal["width", "height"], pixels: int) -> str:
        """What to do about a width or height that the model cannot draw; empty when it can."""
        native = self.native[0 if side == "width" else 1]
        if self.fixed:
            advice = f"this model draws {native}, leave it unset and resize or upscale the result"
            return "" if pixels == native else f"is {pixels}; {advice}"
        if not 0 < pixels <= self.most or pixels % self.granularity:
            return f"is {pixels}; give a multiple of {self.granularity} from {self.granularity} to {self.most}"
        return ""


class Pipeline:
    """One model, ready to draw. Its methods are to be called from one thread at a time, unless they say otherwise."""

    def __init__(
        self,
        *,
        conditioner: Conditioner,
        denoiser: Denoiser,
        autoencoder: Autoencoder,
        schedules: ScheduleSettings,
        defaults: Defaults,
        latent_size: tuple[int, int],
        cell_multiple: int = 1,
        controlnets: ControlNets | None = None,
        references: References | None = None,
        preview_map: PreviewMap | None = None,
        engines: Mapping[str, Engine] | None = None,
    ) -> None:
        self._conditioner = conditioner
        self._denoiser = denoiser
        self._autoencoder = autoencoder
        self._controlnets = controlnets or ControlNets({})
        self._references = references
        self._preview_map = preview_map
        self._inpaints = _sees_the_kept(denoiser, autoencoder)
        self.schedules = schedules
        self.defaults = defaults
        self.engine_name = denoiser.engine_name
        self.precision = denoiser.precision
        # Each graph by its folder, for whoever wants one alone.
        self.engines: Mapping[str, Engine] = engines or {}
        self._factor, self.sizes = self._measure(latent_size, cell_multiple)
        self._calls_of = lru_cache(256)(self._count_calls)

    @property
    def default_schedule(self) -> str:
        """The model's own noise schedule, by name."""
        return self.schedules.default

    @property
    def schedule_names(self) -> tuple[str, ...]:
        """The noise schedules that suit the model, sorted."""
        return self.schedules.names

    @property
    def takes_pictures(self) -> bool:
        """Whether image to image and inpainting are possible."""
        return self._autoencoder.can_encode

    @property
    def control_kinds(self) -> tuple[str, ...]:
        """What constraint pictures may show, sorted; empty when the model takes none."""
        return self._controlnets.kinds if self._denoiser.takes_residuals else ()

    @property
    def takes_references(self) -> bool:
        """Whether a reference picture can guide it."""
        return self._references is not None

    def num_calls(self, spec: RowSpec) -> int:
        """How often the denoiser is called for a row, which is its number of steps. From any thread."""
        strength = spec.strength if spec.init_image is not None else 1.0
        return self._calls_of(spec.noise_schedule, spec.num_inference_steps, strength)

    def most_samples(self, spec: RowSpec) -> int:
        """How many samples a row brings to a call: two under guidance."""
        return 2 if self._guidance(spec.guidance_scale).on else 1

    def read(self, prompt: str) -> str:
        """The prompt in the model's own language. From any thread."""
        return self._conditioner.read(prompt)

    def unseen(self, prompt: str) -> str:
        """The words of the prompt that the text encoder does not see. From any thread."""
        return self._conditioner.unseen(prompt)

    def prepare(self, spec: RowSpec) -> Row:
        """A row at its first step: text encoded, noise drawn, the init image (if any) encoded."""
        factor = self._factor
        shape = (self._autoencoder.channels, spec.height // factor, spec.width // factor)
        schedule = NoiseSchedule(
            spec.noise_schedule,
            self.schedules,
            num_inference_steps=spec.num_inference_steps,
            strength=spec.strength if spec.init_image is not None else 1.0,
            seed=spec.seed,
            num_cells=shape[1] * shape[2],
        )
        noise = _noise(spec, shape)
        latents, kept = schedule.begin(noise), None
        if spec.init_image is not None:
            clean = self._autoencoder.encode(spec.init_image)
            latents = schedule.begin_at(clean, noise, forget=spec.mask is not None)
            if spec.mask is not None and not self._inpaints:
                kept = Kept(clean, noise, shrink_mask(spec.mask, factor))
        guidance = self._guidance(spec.guidance_scale)
        positive = self._positive(spec)
        negative = self._conditioner.negative(spec.negative_prompt) if guidance.on else positive
        extras = extra_inputs(
            self._denoiser.inputs,
            width=spec.width,
            height=spec.height,
            guidance_scale=spec.guidance_scale,
            guidance_width=self._denoiser.width_of(EMBEDDED_GUIDANCE),
        )
        seen, unseen = self._references.conditions(spec.reference) if self._references else ({}, {})
        return Row(
            spec,
            latents=latents,
            schedule=schedule,
            guidance=guidance,
            positive={**positive, **extras, **seen},
            negative={**negative, **extras, **unseen},
            kept=kept,
            beside=self._seen_beside(spec) if self._inpaints else None,
            controls=self._controlnets.see(spec.controls, self._autoencoder),
        )

    def step(self, rows: Sequence[Row]) -> None:
        """Advances every row by one step, all in one denoiser call; guided rows bring two samples."""
        conditions = [row.conditions for row in rows]
        owners = [row for row, own in zip(rows, conditions, strict=True) for _ in own]
        flat: Sequence[Condition] = [condition for own in conditions for condition in own]
        if any(row.controls for row in rows):
            flat = self._controlnets.add_residuals(owners, flat)
        samples = {row: row.sample for row in rows}
        predictions = self._denoiser.predict([samples[row] for row in owners], [row.timestep for row in owners], flat)
        first = 0
        for row, own in zip(rows, conditions, strict=True):
            row.advance(list(predictions[first : first + len(own)]))
            first += len(own)

    def preview(self, row: Row) -> Pixels:
        """(height, width, 3) uint8: the picture that the row heads for, kept pixels as they will be.

        With a fitted map the decoder is not run, and the picture is a soft one.
        """
        if self._preview_map is None:
            return self._to_pixels(row, row.estimate)
        return _with_kept(row, self._preview_map.pixels(row.estimate, (row.spec.width, row.spec.height)))

    def finish(self, row: Row) -> Pixels:
        """(height, width, 3) uint8: the drawn picture; outside the mask it is the init image, bit for bit."""
        if row.num_steps == 0 and row.spec.init_image is not None:
            return row.spec.init_image
        return self._to_pixels(row, row.latents)

    def warm_up(self, counts: Sequence[int] = (1,)) -> None:
        """Draws two steps of nothing, so that the first caller does not pay for first calls, with each of `counts` rows
        in a call."""
        for count in counts:
            rows = [self._nothing() for _ in range(count)]
            while not rows[0].finished:
                self.step(rows)
            self.finish(rows[0])

    def _nothing(self) -> Row:
        width, height = self.sizes.native
        return self.prepare(RowSpec("", width, height, 0, 2, self.defaults.guidance_scale, self.default_schedule))

    def close(self) -> None:
        """Frees all graphs."""
        for part in (self._conditioner, self._denoiser, self._controlnets, self._references, self._autoencoder):
            if part is not None:
                part.close()

    def _count_calls(self, schedule: str, num_inference_steps: int, strength: float) -> int:
        walk = NoiseSchedule(schedule, self.schedules, num_inference_steps=num_inference_steps, strength=strength)
        return walk.num_steps

    def _positive(self, spec: RowSpec) -> Condition:
        condition, toward = self._conditioner.positive(spec.prompt), spec.toward
        if toward is None:
            return condition
        other = self._conditioner.positive(toward.prompt)
        return {name: lerp(array, other[name], toward.share) for name, array in condition.items()}

    def _guidance(self, scale: float) -> Guidance:
        # A model that was taught guidance follows it in one call.
        taught = EMBEDDED_GUIDANCE in self._denoiser.inputs
        return Guidance(1.0 if taught else scale, self.defaults.guidance_interval)

    def _seen_beside(self, spec: RowSpec) -> Array:
        """(1 + C, h, w): which cells are redrawn, and the latents of the picture without them; without a picture all
        of a grey one."""
        pixels = spec.init_image
        if pixels is None:
            pixels = np.full((spec.height, spec.width, 3), 127, np.uint8)
        mask = np.ones(pixels.shape[:2], np.float32) if spec.mask is None else spec.mask
        return np.concatenate(
            [shrink_mask(mask, self._factor)[np.newaxis], self._autoencoder.encode(pixels, without=mask)]
        )

    def _to_pixels(self, row: Row, latents: Array) -> Pixels:
        return _with_kept(row, self._autoencoder.decode(latents))

    def _measure(self, latent_size: tuple[int, int], cell_multiple: int) -> tuple[int, Sizes]:
        """Pixels a cell and the sizes drawn. Decodes one blank latent: the decoder itself knows best."""
        height, width, _ = self._autoencoder.decode(
            np.zeros((self._autoencoder.channels, *latent_size), np.float32)
        ).shape
        factor = height // latent_size[0]
        fixed = all(isinstance(side, int) for side in self._denoiser.sample_shape[1:])
        most = _LARGEST_OF_NATIVE * max(width, height)
        return factor, Sizes((width, height), factor * cell_multiple, most, fixed)


def _with_kept(row: Row, drawn: Pixels) -> Pixels:
    if row.spec.mask is None or row.spec.init_image is None:
        return drawn
    return paste(drawn, row.spec.init_image, row.spec.mask)


def _sees_the_kept(denoiser: Denoiser, autoencoder: Autoencoder) -> bool:
    """Whether the denoiser is one made for inpainting, with mask and kept picture beside the latents."""
    seen, channels = denoiser.sample_shape[0], autoencoder.channels
    if seen not in (channels, 2 * channels + 1):
        raise FailedPrecondition(
            f"the denoiser looks at {seen} channels; served are models that look at the {channels} of their latents, "
            f"or at {2 * channels + 1} for inpainting",
            reason="UNSUPPORTED_MODEL",
        )
    if seen != channels and not autoencoder.can_encode:
        raise FailedPrecondition("a model made for inpainting needs a vae_encoder", reason="UNSUPPORTED_MODEL")
    return seen != channels


def _noise(spec: RowSpec, shape: tuple[int, int, int]) -> Array:
    noise = draw_noise(spec.seed, shape)
    if spec.toward is None:
        return noise
    return slerp(noise, draw_noise(spec.toward.seed, shape), spec.toward.share)
