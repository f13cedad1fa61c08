"""One graph behind a batcher: calls of whoever, of equal shapes, run together."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from diptych.engines.base import Array, Engine, TensorSpec, check_inputs, choose_outputs
from diptych.serving.dynamic_batcher import DynamicBatcher
from diptych.serving.telemetry import Telemetry
from diptych.serving.worker import Worker

GRAPH_FILE = "model.onnx"


@dataclass(frozen=True)
class _Call:
    inputs: Mapping[str, Array]
    outputs: tuple[str, ...]


class BatchedGraph:
    """An engine that is asked by many. Up to `most_calls` calls share one run where the graph's first axis is a batch.

    A graph has such an axis when the first size of all its inputs varies under one name. `outputs` (default: all) are
    those that it is known to give.
    """

    def __init__(
        self,
        engine: Engine,
        worker: Worker,
        *,
        most_calls: int,
        telemetry: Telemetry,
        outputs: Sequence[str] | None = None,
    ) -> None:
        self.engine = engine
        self.outputs: tuple[TensorSpec, ...] = tuple(choose_outputs(engine.outputs, outputs))
        self._shares = _has_batch_axis(engine.inputs)
        self._batcher = DynamicBatcher[_Call, dict[str, Array]](
            worker, self._run, key=self._key, max_batch=most_calls if self._shares else 1, telemetry=telemetry
        )

    async def run(
        self, inputs: Mapping[str, Array], deadline: float | None, outputs: Sequence[str] | None = None
    ) -> dict[str, Array]:
        """The named outputs, or all, for whole inputs, batch axis included. `deadline` in monotonic seconds.

        InvalidRequest names each input or output that does not fit; Overloaded, DeadlineExceeded; else what the engine
        raises.
        """
        check_inputs(self.engine.inputs, inputs)
        wanted = choose_outputs(self.outputs, outputs)
        return await self._batcher.submit(_Call(inputs, tuple(spec.name for spec in wanted)), deadline)

    async def close(self) -> None:
        """Fails the calls that wait and returns when the one at work is over. The engine stays open."""
        await self._batcher.close()

    def _key(self, call: _Call) -> Hashable:
        counts = {array.shape[:1] for array in call.inputs.values()}
        if not self._shares or len(counts) != 1:
            return object()  # Equal to no other: runs alone.
        return call.outputs, tuple(sorted((name, array.shape[1:]) for name, array in call.inputs.items()))

    def _run(self, calls: Sequence[_Call]) -> list[dict[str, Array]]:
        """The outputs of each call; runs on the worker."""
        if len(calls) == 1:
            return [self.engine.run(calls[0].inputs, calls[0].outputs)]
        names = list(calls[0].inputs)
        counts = [len(call.inputs[names[0]]) for call in calls]
        together = {name: np.concatenate([call.inputs[name] for call in calls]) for name in names}
        results = self.engine.run(together, calls[0].outputs)
        if any(array.shape[:1] != (sum(counts),) for array in results.values()):
            # An output without a batch axis, which only running shows: from now on each call runs alone.
            self._shares = False
            return [self.engine.run(call.inputs, call.outputs) for call in calls]
        ends = np.cumsum(counts)
        return [
            {name: array[end - count : end] for name, array in results.items()}
            for count, end in zip(counts, ends, strict=True)
        ]


def _has_batch_axis(specs: Sequence[TensorSpec]) -> bool:
    first = {spec.shape[0] if spec.shape else 0 for spec in specs}
    if len(first) != 1:
        return False
    (size,) = first
    # A vector of unnamed length may be anything, such as weights of styles.
    return isinstance(size, str) and (size != "?" or all(len(spec.shape) > 1 for spec in specs))
