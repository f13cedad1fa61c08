"""The network that is called at every step."""

from collections.abc import Sequence

import numpy as np

from diptych.engines.base import Array, Engine
from diptych.errors import FailedPrecondition

_INPUTS = ("sample", "timestep", "encoder_hidden_states")


class Denoiser:
    """One call for many samples, each with its own noise level and text.

    A sample's result must not depend on its company. ONNX Runtime's CPU kernels split one sample's work differently
    when there are fewer samples than threads, and take another path for a single one; from there on up they do not.
    So a smaller batch is filled up to `least_batch` with copies of its last sample.
    """

    def __init__(self, engine: Engine, *, least_batch: int = 2) -> None:
        shapes = {spec.name: spec.shape for spec in engine.inputs}
        if set(shapes) != set(_INPUTS):
            raise FailedPrecondition(
                f"the denoiser takes {', '.join(shapes)}; served are graphs that take {', '.join(_INPUTS)}",
                reason="UNSUPPORTED_MODEL",
            )
        self._engine = engine
        self._dtypes = {spec.name: spec.dtype for spec in engine.inputs}
        self._least_batch = least_batch
        self._output = engine.outputs[0].name
        self.engine_name = engine.name
        self.sample_shape = shapes["sample"][1:]
        self.text_length = shapes["encoder_hidden_states"][1]

    def predict(self, samples: Sequence[Array], timesteps: Sequence[float], states: Sequence[Array]) -> Array:
        """(B, C, h, w) float32 predictions for B samples (C, h, w), timesteps and text states (T, D)."""
        missing = max(0, self._least_batch - len(samples))
        columns: tuple[Sequence[Array | float], ...] = (samples, timesteps, states)
        inputs = {
            name: np.array([*column, *[column[-1]] * missing], self._dtypes[name])
            for name, column in zip(_INPUTS, columns, strict=True)
        }
        predictions = self._engine.run(inputs, [self._output])[self._output]
        return np.asarray(predictions[: len(samples)], np.float32)

    def close(self) -> None:
        """Frees the graph."""
        self._engine.close()
