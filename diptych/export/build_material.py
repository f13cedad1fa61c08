"""What builds of a model are compared on: real inputs, what the model answers to them, and its pictures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diptych.engines import open_engine
from diptych.engines.base import Array
from diptych.engines.select import Built
from diptych.errors import FailedPrecondition
from diptych.export.build_compare import answers, psnr_of
from diptych.export.build_inputs import DRAWING, PICTURES, Inputs, Outputs, draw, samples_of
from diptych.repository.repository import LocalModel

_DENOISERS = ("unet/model.onnx", "transformer/model.onnx")
_ONLY = "model.onnx"
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Material:
    """Samples and reference answers by ONNX file, and the file's `own`; `main` is the file that takes the time.
    `pictures`: whole pictures of the model, 0 to `peak`, none for models that make none. `side`: pixels a side of the
    samples, `cell` of a latent."""

    main: str
    samples: Mapping[str, Sequence[Inputs]]
    answers: Mapping[str, Sequence[Outputs]]
    own: Mapping[str, Sequence[Outputs]]
    pictures: Sequence[Array]
    peak: float
    side: int
    cell: int = 1

    @property
    def draws(self) -> bool:
        """Whether the model draws pictures step by step."""
        return self.main in _DENOISERS


def gather(
    local: LocalModel,
    torch: Path | None,
    pictures: Path | None,
    resolution: tuple[int, int] | None = None,
    progress: Progress = lambda _: None,
) -> Material:
    """Runs the model; with `torch`, the diffusers folder it came from, the answers are those of its torch modules.

    A model that draws does so at `resolution`, or as near to its own size as that allows.
    """
    if local.manifest.task != DRAWING:
        if torch is not None:
            raise FailedPrecondition("only models that draw come from a torch folder", reason="NO_TORCH")
        samples = samples_of(local, pictures)
        own = _answers(local, _ONLY, samples)
        side = max(array.shape[-1] for array in samples[0].values())
        shown = _main_outputs(local, own) if local.manifest.task in PICTURES else []
        return Material(_ONLY, {_ONLY: samples}, {_ONLY: own}, {_ONLY: own}, shown, 1.0, side)
    drawn, recorded = draw(local, resolution=resolution, progress=progress)
    main = next((path for path in _DENOISERS if path in recorded), "")
    given = {path: [inputs for inputs, _ in runs] for path, runs in recorded.items()}
    found = {path: [outputs for _, outputs in runs] for path, runs in recorded.items()}
    reference: Mapping[str, Sequence[Outputs]] = found
    if torch is not None:
        from diptych.export.torch_reference import torch_answers

        progress("Running torch on the same inputs")
        reference = torch_answers(torch, given)
    width = drawn[0].shape[1]
    latents = next(array for array in given[main][0].values() if array.ndim == 4)
    return Material(main, given, reference, found, drawn, 255.0, width, width // latents.shape[-1])


def end_to_end(
    local: LocalModel,
    material: Material,
    built: Mapping[str, Built],
    resolution: tuple[int, int] | None = None,
    progress: Progress = lambda _: None,
) -> float | None:
    """How near whole pictures of the built files are to the model's own, dB; None for models that make none."""
    if not material.pictures:
        return None
    if material.draws:
        drawn, _ = draw(local, built=built, resolution=resolution, progress=progress)
        return psnr_of(material.pictures, drawn, peak=material.peak)
    engine = open_engine(local.path(material.main), choice="onnx", built=built[material.main], keep_memory=False)
    found = answers(engine, material.samples[material.main])
    engine.close()
    return psnr_of(material.pictures, _main_outputs(local, found), peak=material.peak)


def _answers(local: LocalModel, path: str, samples: Sequence[Inputs]) -> list[Outputs]:
    engine = open_engine(local.path(path), choice="onnx", keep_memory=False)
    try:
        return answers(engine, samples)
    finally:
        engine.close()


def _main_outputs(local: LocalModel, outputs: Sequence[Outputs]) -> list[Array]:
    tensors = local.manifest.tensors
    name = tensors.outputs[0].name if tensors is not None else next(iter(outputs[0]))
    return [np.asarray(one[name]) for one in outputs]
