"""Text to image, image to image and inpainting with one latent diffusion model: prepare, step, finish."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from diptych.diffusion.conditioning import Conditioner
from diptych.diffusion.denoiser import Denoiser
from diptych.diffusion.guidance import Guidance
from diptych.diffusion.latents import Autoencoder, draw_noise, paste, shrink_mask
from diptych.diffusion.row import Kept, Row, RowSpec
from diptych.diffusion.schedules import SCHEDULE_NAMES, NoiseSchedule, schedule_name
from diptych.diffusion.walk import lerp, slerp
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
    """One model, ready to draw. Its methods are to be called from one thread at a time, `unseen` from any."""

    def __init__(
        self,
        *,
        conditioner: Conditioner,
        denoiser: Denoiser,
        autoencoder: Autoencoder,
        scheduler_config: Mapping[str, Any],
        defaults: Defaults,
        latent_size: tuple[int, int],
    ) -> None:
        self._conditioner = conditioner
        self._denoiser = denoiser
        self._autoencoder = autoencoder
        self._scheduler_config = scheduler_config
        self._channels = int(denoiser.sample_shape[0])
        self.defaults = defaults
        self.default_schedule = schedule_name(scheduler_config)
        self.schedule_names = SCHEDULE_NAMES
        self.engine_name = denoiser.engine_name
        self.sizes = self._measure_sizes(latent_size)

    @property
    def takes_pictures(self) -> bool:
        """Whether image to image and inpainting are possible."""
        return self._autoencoder.can_encode

    def unseen(self, prompt: str) -> str:
        """The words of the prompt that the text encoder does not see."""
        return self._conditioner.unseen(prompt)

    def prepare(self, spec: RowSpec) -> Row:
        """A row at its first step: text encoded, noise drawn, the init image (if any) encoded."""
        schedule = NoiseSchedule(
            spec.noise_schedule,
            self._scheduler_config,
            num_inference_steps=spec.num_inference_steps,
            strength=spec.strength if spec.init_image is not None else 1.0,
        )
        guidance = Guidance(spec.guidance_scale, self.defaults.guidance_interval)
        factor = self.sizes.granularity
        noise = _noise(spec, (self._channels, spec.height // factor, spec.width // factor))
        latents, kept = noise, None
        if spec.init_image is not None:
            clean = self._autoencoder.encode(spec.init_image)
            latents = schedule.add_noise(clean, noise)
            kept = None if spec.mask is None else Kept(clean, noise, shrink_mask(spec.mask, factor))
        positive = self._conditioner.states(spec.prompt)
        if (toward := spec.toward) is not None:
            positive = lerp(positive, self._conditioner.states(toward.prompt), toward.share)
        negative = self._conditioner.states(spec.negative_prompt) if guidance.on else positive
        return Row(
            spec,
            latents=latents,
            schedule=schedule,
            guidance=guidance,
            positive=positive,
            negative=negative,
            kept=kept,
        )

    def step(self, rows: Sequence[Row]) -> None:
        """Advances every row by one step, all in one denoiser call; guided rows bring two samples."""
        conditions = [row.conditions for row in rows]
        predictions = self._denoiser.predict(
            [row.latents for row, states in zip(rows, conditions, strict=True) for _ in states],
            [row.timestep for row, states in zip(rows, conditions, strict=True) for _ in states],
            [state for states in conditions for state in states],
        )
        first = 0
        for row, states in zip(rows, conditions, strict=True):
            row.advance(list(predictions[first : first + len(states)]))
            first += len(states)

    def preview(self, row: Row) -> Pixels:
        """(height, width, 3) uint8: the picture that the row heads for, kept pixels as they will be."""
        return self._to_pixels(row, row.estimate)

    def finish(self, row: Row) -> Pixels:
        """(height, width, 3) uint8: the drawn picture; outside the mask it is the init image, bit for bit."""
        if row.num_steps == 0 and row.spec.init_image is not None:
            return row.spec.init_image
        return self._to_pixels(row, row.latents)

    def warm_up(self) -> None:
        """Draws two steps of nothing, so that the first caller does not pay for first calls."""
        width, height = self.sizes.native
        spec = RowSpec("", width, height, 0, 2, self.defaults.guidance_scale, self.default_schedule)
        row = self.prepare(spec)
        while not row.finished:
            self.step([row])
        self.finish(row)

    def close(self) -> None:
        """Frees all graphs."""
        self._conditioner.close()
        self._denoiser.close()
        self._autoencoder.close()

    def _to_pixels(self, row: Row, latents: np.ndarray[Any, Any]) -> Pixels:
        drawn = self._autoencoder.decode(latents)
        if row.spec.mask is None or row.spec.init_image is None:
            return drawn
        return paste(drawn, row.spec.init_image, row.spec.mask)

    def _measure_sizes(self, latent_size: tuple[int, int]) -> Sizes:
        """Decodes one blank latent: the decoder itself knows best how many pixels a cell becomes."""
        height, width, _ = self._autoencoder.decode(np.zeros((self._channels, *latent_size), np.float32)).shape
        factor = height // latent_size[0]
        fixed = all(isinstance(side, int) for side in self._denoiser.sample_shape[1:])
        return Sizes((width, height), factor, _LARGEST_OF_NATIVE * max(width, height), fixed)


def _noise(spec: RowSpec, shape: tuple[int, int, int]) -> np.ndarray[Any, Any]:
    noise = draw_noise(spec.seed, shape)
    if spec.toward is None:
        return noise
    return slerp(noise, draw_noise(spec.toward.seed, shape), spec.toward.share)
