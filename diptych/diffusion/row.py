"""One picture on its way from noise: what was asked, and how far it is."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from diptych.diffusion.conditioning import Condition
from diptych.diffusion.guidance import Guidance
from diptych.diffusion.references import Reference
from diptych.diffusion.schedules import NoiseSchedule
from diptych.diffusion.walk import Toward
from diptych.engines.base import Array
from diptych.images import Mask, Pixels


@dataclass(frozen=True, eq=False)
class Control:
    """A picture whose structure is kept: `pixels` (height, width, 3) uint8 as the ControlNet of `kind` wants them."""

    kind: str
    pixels: Pixels
    scale: float = 1.0


@dataclass(frozen=True, eq=False)
class Seen:
    """The same as a ControlNet sees it: `picture` (C, h, w) float32."""

    kind: str
    picture: Array
    scale: float


@dataclass(frozen=True, eq=False)
class RowSpec:
    """One picture as it shall be drawn, every choice made.

    `init_image` (height, width, 3) uint8 and `mask` (height, width) float32, 1 where it is redrawn; `strength` counts
    only with an init image. `toward` moves prompt and noise some way to another place. `controls` are pictures whose
    structure is kept, of the row's size; `reference` is a picture to be guided by, of any size.
    """

    prompt: str
    width: int
    height: int
    seed: int
    num_inference_steps: int
    guidance_scale: float
    noise_schedule: str
    negative_prompt: str = ""
    init_image: Pixels | None = None
    strength: float = 1.0
    mask: Mask | None = None
    toward: Toward | None = None
    controls: tuple[Control, ...] = ()
    reference: Reference | None = None


@dataclass(frozen=True, eq=False)
class Kept:
    """What inpainting holds on to: the picture's latents and noise (C, h, w), and which cells are redrawn (h, w)."""

    clean: Array
    noise: Array
    redrawn: Mask

    def bind(self, latents: Array, schedule: NoiseSchedule) -> Array:
        """`latents` with the kept cells put back, at the noise level of now."""
        return np.asarray(self.redrawn * latents + (1 - self.redrawn) * schedule.add_noise(self.clean, self.noise))


class Row:
    """A sample in a running batch. `latents` (C, h, w) float32 now.

    `beside` (C', h, w) are further channels that the denoiser sees, the same at every step; `controls` what
    ControlNets look at.
    """

    def __init__(
        self,
        spec: RowSpec,
        *,
        latents: Array,
        schedule: NoiseSchedule,
        guidance: Guidance,
        positive: Condition,
        negative: Condition,
        kept: Kept | None = None,
        beside: Array | None = None,
        controls: Sequence[Seen] = (),
    ) -> None:
        self.spec = spec
        self.latents = latents
        self.controls = controls
        self._schedule = schedule
        self._guidance = guidance
        self._positive = positive
        self._negative = negative
        self._kept = kept
        self._beside = beside
        self._scaled: Array | None = None  # The latents as the denoiser sees them, once they were asked for.
        # What the last prediction was, of which latents and at which level: most steps are never looked at.
        self._last: tuple[Array, Array, float] | None = None

    @property
    def key(self) -> Hashable:
        """Rows of one latent shape share a call."""
        return self.latents.shape

    @property
    def finished(self) -> bool:
        """Whether it needs no further step."""
        return self._schedule.finished

    @property
    def num_steps(self) -> int:
        """Steps in all. A noise schedule of second order takes two for each one asked for, but for the last."""
        return self._schedule.num_steps

    @property
    def timestep(self) -> float:
        """What the denoiser is told of the noise level."""
        return self._schedule.timestep

    @property
    def sample(self) -> Array:
        """(C', h, w) float32: what the denoiser sees at this step."""
        scaled = self._scale()
        return scaled if self._beside is None else np.concatenate([scaled, self._beside])

    @property
    def estimate(self) -> Array:
        """(C, h, w) float32: the clean latents that it heads for. From any thread."""
        return self.latents if (last := self._last) is None else self._schedule.estimate(*last)

    @property
    def conditions(self) -> Sequence[Condition]:
        """What this step needs a prediction for: one condition, or negative and positive under guidance."""
        guided = self._guidance.acts_at(self._schedule.sigma)
        return (self._negative, self._positive) if guided else (self._positive,)

    def advance(self, predictions: Sequence[Array]) -> None:
        """Takes one step with a prediction (C, h, w) for each of `conditions`."""
        prediction = predictions[0] if len(predictions) == 1 else self._guidance.combine(*predictions)
        self._last = (prediction, self._scale(), self._schedule.level)
        self._scaled = None
        latents = self._schedule.step(prediction, self.latents)
        self.latents = latents if self._kept is None else self._kept.bind(latents, self._schedule)

    def _scale(self) -> Array:
        if self._scaled is None:
            self._scaled = self._schedule.scale(self.latents)
        return self._scaled
