"""Real inputs of a model's graphs: recorded while it draws, or made of photographs and sentences."""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tokenizers import Tokenizer

from diptych.diffusion import Defaults, RowSpec, Sizes, open_pipeline
from diptych.engines import Engine, TensorSpec, open_engine
from diptych.engines.base import Array, Held, Precision, arrays_of
from diptych.engines.select import Built
from diptych.errors import FailedPrecondition, FieldViolation, InvalidRequest
from diptych.images import Pixels
from diptych.repository.manifest import Manifest
from diptych.repository.repository import LocalModel

Inputs = Mapping[str, Array]
Outputs = Mapping[str, Array]
Run = tuple[Inputs, Outputs]
_MOST_KEPT = 12
_MOST_STEPS = 8
# A step of a model with more bytes of weights than this takes seconds, on a CPU up to a minute.
_LARGE, _MOST_STEPS_OF_LARGE = 1 << 30, 4
_SLOW_SECONDS = 5.0
_PROMPTS = ("a red apple", "a smiling sun over green hills", "a blue car", "an old house at night")
_PHOTOGRAPHS = ("astronaut", "coffee", "chelsea", "rocket")
_SENTENCES = ("cut out the dog and make it twice as big", "a quiet harbour at dawn", "Mach das Bild etwas wärmer.")
_CROP = 256
_NOISE = 0.1
DRAWING = "text-to-image"
# Tasks whose main output is a picture in 0..1.
PICTURES = ("matting", "upscale", "denoise", "named-style")
_LOOKING = (
    "face-detection",
    "face-landmarks",
    "face-embedding",
    "object-detection",
    "text-detection",
    "safety",
    "depth",
)


class Recorder:
    """An engine that keeps some of what it is given, and what it answers to that."""

    def __init__(self, engine: Engine, kept: list[Run], most: int = _MOST_KEPT) -> None:
        self._engine = engine
        self._kept = kept
        self._most = most
        self.name = engine.name
        self.precision: Precision = engine.precision
        self.provider = engine.provider
        self.inputs = engine.inputs
        self.outputs = engine.outputs

    def run(self, inputs: Mapping[str, Array | Held], outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """What the engine gives."""
        if len(self._kept) >= self._most:
            return self._engine.run(inputs, outputs)
        given = {name: np.array(array) for name, array in arrays_of(inputs).items()}
        found = self._engine.run(inputs)
        self._kept.append((given, {name: np.array(array) for name, array in found.items()}))
        return {name: found[name] for name in outputs or found}

    def hold(self, given: Array | Sequence[Array]) -> Held:
        """What the engine gives."""
        return self._engine.hold(given)

    @property
    def memory_bytes(self) -> int:
        """What the engine holds."""
        return self._engine.memory_bytes

    def close(self) -> None:
        """Closes the engine."""
        self._engine.close()


def draw(
    local: LocalModel,
    *,
    built: Mapping[str, Built] | None = None,
    resolution: tuple[int, int] | None = None,
    prompts: int = 2,
    threads: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[list[Pixels], dict[str, list[Run]]]:
    """Pictures of a few prompts, a few steps each, and what went into and came out of each graph, by its file.

    They are as large as the model likes best, or as is nearest to that within `resolution`. InvalidRequest for a
    resolution that it does not draw.
    """
    recorded: dict[str, list[Run]] = defaultdict(list)
    defaults = Defaults.from_table(local.manifest.defaults)
    pipeline = open_pipeline(
        local.directory,
        defaults,
        engine="onnx",
        threads=threads,
        built=built,
        around=lambda path, engine: Recorder(engine, recorded[path]),
    )
    most = _MOST_STEPS_OF_LARGE if local.weight_bytes > _LARGE else _MOST_STEPS
    steps = min(defaults.num_inference_steps, most)
    pictures = []
    try:
        width, height = _size(pipeline.sizes, resolution)
        for seed, prompt in enumerate(_PROMPTS[:prompts]):
            init = None
            if seed and pipeline.takes_pictures:  # So that the encoder runs too.
                init = np.array(Image.fromarray(_photographs(None)[0]).resize((width, height)))
            spec = RowSpec(
                prompt, width, height, seed, steps, defaults.guidance_scale, pipeline.default_schedule, init_image=init,
                strength=0.8,
            )  # fmt: skip
            row = pipeline.prepare(spec)
            while not row.finished:
                began = time.monotonic()
                pipeline.step([row])
                if (took := time.monotonic() - began) > _SLOW_SECONDS:
                    progress(f"  picture {seed + 1} of {prompts}: one of {steps} steps, {took:.0f} s")
            pictures.append(pipeline.finish(row))
    finally:
        pipeline.close()
    return pictures, dict(recorded)


def _size(sizes: Sizes, resolution: tuple[int, int] | None) -> tuple[int, int]:
    """Width and height to draw."""
    if resolution is None:
        return sizes.native
    low, high = resolution
    width, height = (min(high, max(low, side)) for side in sizes.native)
    faults = dict.fromkeys((sizes.fault("width", width), sizes.fault("height", height)))
    if violations := [FieldViolation("--resolution", fault) for fault in faults if fault]:
        raise InvalidRequest(violations)
    return width, height


def samples_of(local: LocalModel, pictures: Path | None) -> list[Inputs]:
    """Inputs of the one graph of a model that does not draw, from the photographs in `pictures` (default: those that
    scikit-image brings). FailedPrecondition for a task whose inputs cannot be made."""
    manifest = local.manifest
    engine = open_engine(local.path("model.onnx"), choice="onnx", threads=1)
    specs = engine.inputs
    engine.close()
    if manifest.task == "text-embedding":
        return [_sentence(local, specs, sentence) for sentence in _SENTENCES]
    if manifest.task not in (*PICTURES, *_LOOKING):
        raise FailedPrecondition(
            f"{manifest.name} is a model for {manifest.task}, whose real inputs are not known here; builds are made "
            f"for models that draw and for {', '.join((*PICTURES, *_LOOKING, 'text-embedding'))}",
            reason="UNSUPPORTED_MODEL",
        )
    return [_picture(manifest, specs, pixels) for pixels in _photographs(pictures)]


def _photographs(folder: Path | None) -> list[Pixels]:
    if folder is not None:
        if not folder.is_dir():
            raise InvalidRequest.single(
                "--pictures", f"{folder} is no folder; give one of photographs", reason="NO_FOLDER"
            )
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"))
        if not files:
            raise FailedPrecondition(f"there is no photograph in {folder.name}; give JPEG or PNG", reason="NO_PICTURES")
        return [np.array(Image.open(path).convert("RGB")) for path in files[:_MOST_KEPT]]
    try:
        from skimage import data
    except ModuleNotFoundError as missing:
        raise FailedPrecondition(
            "a build is compared on photographs and there are none; give a folder of them with --pictures, or run: "
            "pip install scikit-image",
            reason="NO_PICTURES",
        ) from missing
    return [np.asarray(getattr(data, name)()) for name in _PHOTOGRAPHS]


def _picture(manifest: Manifest, specs: Sequence[TensorSpec], pixels: Pixels) -> Inputs:
    spec = next(one for one in specs if len(one.shape) == 4)
    last = spec.shape[3] in (3, 4) and spec.shape[1] not in (3, 4)
    sides = spec.shape[1:3] if last else spec.shape[2:4]
    height, width = (side if isinstance(side, int) else 0 for side in sides)
    if height and width:
        colors = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS), np.float32)
    else:
        top, left = (max(0, (side - _CROP) // 2) for side in pixels.shape[:2])
        colors = pixels[top : top + _CROP, left : left + _CROP].astype(np.float32)
    defaults: Mapping[str, Any] = manifest.defaults
    colors = (colors - float(defaults.get("mean", 0.0))) / float(
        defaults.get("scale", 255.0) if "mean" in defaults else 255
    )
    planes = colors if last else colors.transpose(2, 0, 1)
    if spec.shape[1] == 4:  # A fourth plane tells how strong the noise is.
        grain = np.random.default_rng(0).standard_normal(planes.shape).astype(np.float32) * _NOISE
        planes = np.concatenate([planes + grain, np.full((1, *planes.shape[1:]), _NOISE, np.float32)])
    inputs: dict[str, Array] = {spec.name: np.ascontiguousarray(planes[np.newaxis], np.dtype(spec.dtype))}
    for other in specs:
        if other.name != spec.name:  # The weights of a blend of styles.
            blend = np.zeros([size if isinstance(size, int) else 1 for size in other.shape], np.dtype(other.dtype))
            blend.flat[int(pixels.sum()) % blend.size] = 1
            inputs[other.name] = blend
    return inputs


def _sentence(local: LocalModel, specs: Sequence[TensorSpec], sentence: str) -> Inputs:
    tokenizer = Tokenizer.from_file(str(local.path("tokenizer.json")))
    tokenizer.no_padding()
    encoding = tokenizer.encode(sentence)
    ids = np.array([encoding.ids])
    known = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    return {spec.name: known[spec.name].astype(spec.dtype) for spec in specs}
