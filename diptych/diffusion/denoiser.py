"""The network that is called at every step."""

from collections.abc import Mapping, Sequence

import numpy as np

from diptych.engines.base import Array, Engine, Held, TensorSpec
from diptych.errors import FailedPrecondition

_SAMPLES = ("sample", "hidden_states")
_NEEDED = ("timestep", "encoder_hidden_states")
_KNOWN = ("text_embeds", "time_ids", "timestep_cond", "pooled_projections", "image_tokens", "image_scales")
_CONSTANT = ("encoder_hidden_states", *_KNOWN)
# A lone sample is filled up to the smallest call that the graph takes.
_MOST_FILLED = 128
_RESIDUALS = ("down_block_additional_residual", "mid_block_additional_residual", "block_controlnet_hidden_states")


class SampleGraph:
    """One call of a graph for many samples, each an array without the batch axis for every input.

    A sample's result must not depend on its company. ONNX Runtime's CPU kernels split one sample's work differently
    when there are fewer samples than threads, and take another path for a single one; from there on up they do not.
    So a smaller batch is filled up to `least_batch` with copies of its last sample.

    `batch_sizes` are all that the engine takes; where the graph itself was made for one size, that one. Samples are
    then split into calls of the largest, and the last call filled up to the smallest that holds it.

    What a sample brings again at every step, such as its text, is taken to the device once; it is stacked there, and
    stays stacked as long as the company is the same.
    """

    def __init__(self, engine: Engine, *, least_batch: int = 2, batch_sizes: Sequence[int] = ()) -> None:
        self._engine = engine
        self._least_batch = least_batch
        self.name = engine.name
        self.precision = engine.precision
        self.inputs: Mapping[str, TensorSpec] = {spec.name: spec for spec in engine.inputs}
        self.outputs = tuple(spec.name for spec in engine.outputs)
        fixed = {spec.shape[0] for spec in engine.inputs if spec.shape and isinstance(spec.shape[0], int)}
        self._batch_sizes = sorted(int(size) for size in fixed) or sorted(batch_sizes)
        if self._batch_sizes and self._batch_sizes[0] > _MOST_FILLED:
            raise FailedPrecondition(
                f"a graph takes {self._batch_sizes[0]} samples a call and no fewer; served are up to {_MOST_FILLED}",
                reason="UNSUPPORTED_MODEL",
            )
        # The arrays that a held input was stacked from, by input and place of the call: while they are the same
        # objects, so is the input.
        self._held: dict[tuple[str, int], tuple[list[Array | float], Held]] = {}

    def run(self, samples: Sequence[Mapping[str, Array | float]]) -> list[Array]:
        """(B, ...) float32 for each output, in the graph's order."""
        most = self._batch_sizes[-1] if self._batch_sizes else len(samples)
        calls = [self._call(samples[first : first + most], first) for first in range(0, len(samples), most)]
        return calls[0] if len(calls) == 1 else [np.concatenate(parts) for parts in zip(*calls, strict=True)]

    def _call(self, samples: Sequence[Mapping[str, Array | float]], place: int) -> list[Array]:
        size = self._size_for(len(samples))
        filled = [*samples, *[samples[-1]] * (size - len(samples))]
        inputs = {
            name: self._input(spec, [sample[name] for sample in filled], place) for name, spec in self.inputs.items()
        }
        outputs = self._engine.run(inputs)
        return [np.asarray(outputs[name][: len(samples)], np.float32) for name in self.outputs]

    def _size_for(self, count: int) -> int:
        """How many samples a call for `count` has."""
        wanted = max(count, self._least_batch)
        if not self._batch_sizes:
            return wanted
        return next((size for size in self._batch_sizes if size >= wanted), self._batch_sizes[-1])

    def close(self) -> None:
        """Frees the graph."""
        self._held.clear()
        self._engine.close()

    def _input(self, spec: TensorSpec, parts: list[Array | float], place: int) -> Array | Held:
        if spec.name not in _CONSTANT:
            return np.array(parts, spec.dtype)
        sources, held = self._held.get((spec.name, place), ([], None))
        if held is None or len(sources) != len(parts) or any(a is not b for a, b in zip(sources, parts, strict=True)):
            held = self._engine.hold([np.asarray(part, spec.dtype) for part in parts])
            self._held[spec.name, place] = (parts, held)
        return held


class Denoiser:
    """One call for many samples, each with its own noise level and conditions."""

    def __init__(self, graph: SampleGraph) -> None:
        shapes = {name: spec.shape for name, spec in graph.inputs.items()}
        self._sample = next((name for name in _SAMPLES if name in shapes), "")
        missing = [name for name in _NEEDED if name not in shapes] + ([] if self._sample else ["sample"])
        unknown = [name for name in shapes if name not in (self._sample, *_NEEDED, *_KNOWN) and not _is_residual(name)]
        if missing or unknown:
            raise FailedPrecondition(
                f"the denoiser takes {', '.join(shapes)}; served are graphs that take sample or hidden_states, "
                f"{', '.join(_NEEDED)}, and nothing else but {', '.join(_KNOWN)} and ControlNet residuals",
                reason="UNSUPPORTED_MODEL",
            )
        if not shapes["timestep"]:
            raise FailedPrecondition(
                "the denoiser takes one timestep for all samples of a call, and batches here mix them; import the "
                "model's diffusers folder instead of its ONNX export",
                reason="UNSUPPORTED_MODEL",
            )
        self._graph = graph
        self._rounds = graph.inputs["timestep"].dtype.startswith("int")
        self._residuals = {name: shape[1:] for name, shape in shapes.items() if _is_residual(name)}
        self.inputs = frozenset(shapes)
        self.engine_name = graph.name
        self.precision = graph.precision
        self.sample_shape = shapes[self._sample][1:]
        self.text_length = shapes["encoder_hidden_states"][1]

    @property
    def takes_residuals(self) -> bool:
        """Whether ControlNets can add to it."""
        return bool(self._residuals)

    def width_of(self, name: str) -> int:
        """How many numbers a sample's input of one axis has; 0 when it has no such input."""
        size = self._graph.inputs[name].shape[-1] if name in self.inputs else 0
        return size if isinstance(size, int) else 0

    def predict(
        self, samples: Sequence[Array], timesteps: Sequence[float], conditions: Sequence[Mapping[str, Array]]
    ) -> Array:
        """(B, C, h, w) float32 predictions for B samples (C', h, w), timesteps and conditions.

        A condition without residuals is one that no ControlNet adds to.
        """
        rows = [
            {
                **(self._nothing(sample) if self._residuals else {}),
                **condition,
                self._sample: sample,
                "timestep": round(timestep) if self._rounds else timestep,
            }
            for sample, timestep, condition in zip(samples, timesteps, conditions, strict=True)
        ]
        return self._graph.run(rows)[0]

    def close(self) -> None:
        """Frees the graph."""
        self._graph.close()

    def _nothing(self, sample: Array) -> dict[str, Array]:
        """Residuals of zeros. A side named `height_4` is a fourth of the sample's height, one named `cells_2` as many
        as a sample of half the height and width has cells."""
        height, width = sample.shape[1:]

        def side(size: int | str) -> int:
            if isinstance(size, int):
                return size
            name, _, part = size.partition("_")
            sides = {"height": height // int(part or 1), "width": width // int(part or 1)}
            return int(sides["height"] * sides["width"] if name == "cells" else sides[name])

        return {name: np.zeros([side(size) for size in shape], np.float32) for name, shape in self._residuals.items()}


def _is_residual(name: str) -> bool:
    return name.startswith(_RESIDUALS)
