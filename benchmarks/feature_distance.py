"""How differently a network sees two pictures: LPIPS's idea with the features of a classifier that this project pulls.

Not LPIPS itself, whose networks are published outside of the package registries. Features are compared as there (Zhang
et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric"): normalised at each place, their
squared differences averaged over places and summed over depths, but without weights fitted to people's judgements.
"""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from diptych.images import Pixels
from diptych.repository.repository import ModelRepository

Floats = NDArray[np.float32]

_MODEL, _SIDE = "nsfw-mobilenet", 224
# The network's residual sums: each as deep as a block, one to three for each size of its features.
_DEPTHS = 6


class FeatureDistance:
    """0 for the same picture; more, the more differently MobileNetV2 sees two."""

    def __init__(self) -> None:
        local = ModelRepository([Path("models")]).open(_MODEL)
        graph = onnx.load(str(local.path("model.onnx")))
        sums = [node.output[0] for node in graph.graph.node if node.op_type == "Add"][:_DEPTHS]
        graph.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in sums)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(graph.SerializeToString(), options, ["CPUExecutionProvider"])
        self._input, self._outputs = self._session.get_inputs()[0].name, sums

    def __call__(self, one: Pixels, other: Pixels) -> float:
        """The mean over squares of 224 pixels that cover both, (H, W, 3) of one shape."""
        height, width = one.shape[:2]
        if min(height, width) < _SIDE:
            raise ValueError(f"pictures of {width} x {height} are smaller than the network's {_SIDE} pixels")
        places = [(top, left) for top in _starts(height) for left in _starts(width)]
        return float(
            np.mean([self._apart(*(_square(picture, *place) for picture in (one, other))) for place in places])
        )

    def _apart(self, one: Floats, other: Floats) -> float:
        seen = [self._session.run(self._outputs, {self._input: picture}) for picture in (one, other)]
        return sum(float(np.square(_unit(a) - _unit(b)).sum(axis=1).mean()) for a, b in zip(*seen, strict=True))


def _starts(length: int) -> list[int]:
    return [int(start) for start in np.linspace(0, length - _SIDE, -(-length // _SIDE)).round()]


def _square(picture: Pixels, top: int, left: int) -> Floats:
    part = picture[top : top + _SIDE, left : left + _SIDE].transpose(2, 0, 1)
    return part[np.newaxis].astype(np.float32) / np.float32(255)


def _unit(features: Floats) -> Floats:
    length: Floats = np.sqrt(np.square(features).sum(axis=1, keepdims=True)) + np.float32(1e-6)
    return features / length
