"""The editor's models: opened when first needed, each behind a batcher of its own, all on one worker."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from diptych.engines import Engine, open_engine
from diptych.engines.base import Array, TensorSpec
from diptych.engines.select import EngineChoice
from diptych.engines.variants import variant_for
from diptych.errors import FailedPrecondition, InvalidRequest, ModelNotPulled
from diptych.repository.manifest import Manifest
from diptych.repository.repository import ModelRepository, ModelState
from diptych.serving.graphs import BatchedGraph
from diptych.serving.lineup import Lineup, ModelKey
from diptych.serving.model_pool import ModelPool
from diptych.serving.model_service import model_ref
from diptych.serving.telemetry import Telemetry
from diptych.serving.worker import Worker
from diptych.v1 import image_pb2
from services.editor.pixels.color_spaces import Floats

logger = logging.getLogger(__name__)

MATTING, UPSCALE, DENOISE, INPAINTING = "matting", "upscale", "denoise", "inpainting"
FACES, LANDMARKS, EMBEDDING = "face-detection", "face-landmarks", "face-embedding"
NAMED_STYLE, STYLE, STYLE_CODE = "named-style", "style", "style-code"
OBJECTS, TEXT, SAFETY, DEPTH = "object-detection", "text-detection", "safety", "depth"
TASKS = (
    MATTING, UPSCALE, DENOISE, INPAINTING, FACES, LANDMARKS, EMBEDDING, OBJECTS,
    TEXT, SAFETY, DEPTH, NAMED_STYLE, STYLE, STYLE_CODE,
)  # fmt: skip
# These see a whole large picture at once: kept, their working memory would be gigabytes at rest.
_HUNGRY = (MATTING, NAMED_STYLE, TEXT, DEPTH)
_FILE = "model.onnx"
# More tiles in one call do not run faster on a CPU, and a call cannot be stopped.
_MOST_ROWS = 2
_WARMING_SIDE = 64

# One sample's tensors by name, without the batch axis.
Row = Mapping[str, Floats]


@dataclass(frozen=True)
class OpenModel:
    """A model that is in memory."""

    manifest: Manifest
    ref: image_pb2.ModelRef
    graph: BatchedGraph
    lineup: "Lineup[OpenModel]"

    @property
    def engine(self) -> Engine:
        """The one graph's engine."""
        return self.graph.engine

    @property
    def memory_bytes(self) -> int:
        """What the engine holds."""
        return self.engine.memory_bytes

    @property
    def graphs(self) -> Mapping[str, BatchedGraph]:
        """The one graph, by its place in the model's folder."""
        return {"": self.graph}

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """(height, width) of the picture that the graph takes, None if it takes any."""
        spec = self._picture
        height, width = spec.shape[1:3] if _channels_last(spec) else spec.shape[2:4]
        return (height, width) if isinstance(height, int) and isinstance(width, int) else None

    async def warm_up(self) -> None:
        """Runs the graph once on nothing, so that the first request need not wait for what comes with that."""
        await self.graph.run({spec.name: _blank(spec) for spec in self.engine.inputs}, None)

    async def run(self, planes: Floats, deadline: float | None) -> Floats:
        """The main output, such as (C', H', W') float32, for (3, H, W) float32, whichever order the graph's axes have.

        Rows of one shape, whoever sent them, may share a call. FailedPrecondition for a graph with other inputs.
        """
        spec = self._picture
        turned = _channels_last(spec)
        results = await self.run_row({spec.name: planes.transpose(1, 2, 0) if turned else planes}, deadline)
        answer = results[self.graph.outputs[0].name]
        return answer.transpose(2, 0, 1) if turned and answer.ndim == 3 else answer

    async def run_row(self, row: Row, deadline: float | None) -> Row:
        """Outputs by name for inputs by name, neither with the batch axis. FailedPrecondition for outputs of NaN."""
        # A vector is no picture of a batch: it is for the one row that such a graph takes.
        vectors = {spec.name for spec in self.engine.inputs if len(spec.shape) == 1}
        dtypes = {spec.name: spec.dtype for spec in self.engine.inputs}
        inputs = {
            name: (values if name in vectors else values[np.newaxis]).astype(dtypes.get(name, values.dtype), copy=False)
            for name, values in row.items()
        }
        # For each call anew: unloaded between two tiles, the model is opened again and the edit goes on.
        async with self.lineup.use(f"{self.ref.name}@{self.ref.version}") as opened:
            results = await opened.graph.run(inputs, deadline)
        answer = {name: values[0].astype(np.float32, copy=False) for name, values in results.items()}
        if not all(np.isfinite(values).all() for values in answer.values()):
            raise FailedPrecondition(
                f"model {self.manifest.name} answered with values that are no numbers; its file or engine is broken: "
                f"run diptych models verify {self.manifest.name}, or name another model",
                reason="MODEL_BROKEN",
            )
        return answer

    @property
    def _picture(self) -> TensorSpec:
        """The one input, a picture; FailedPrecondition if the graph has another form."""
        pictures = [spec for spec in self.engine.inputs if len(spec.shape) == 4]
        if len(self.engine.inputs) != 1 or not pictures or not _is_picture(pictures[0]):
            taken = ", ".join(str(spec) for spec in self.engine.inputs)
            raise FailedPrecondition(
                f"model {self.manifest.name} takes {taken}; models for {self.manifest.task} have one input "
                "(N, 3, H, W) or (N, H, W, 3)",
                reason="UNSUPPORTED_GRAPH",
            )
        return pictures[0]


class EditorModels:
    """Opens models by name, `name@version` or alias; `lineup` has those that are in memory."""

    def __init__(
        self,
        repository: ModelRepository,
        *,
        engine: EngineChoice = "auto",
        threads: int = 0,
        memory_budget: int = 0,
        telemetry: Telemetry,
    ) -> None:
        self.repository = repository
        self.pool: ModelPool[ModelKey, OpenModel] = ModelPool(
            self._open, self._close, max_bytes=memory_budget or None, size_of=self._size
        )
        self.lineup = Lineup(repository, self.pool)
        self._engine: EngineChoice = engine
        self._threads = threads
        self._telemetry = telemetry
        self._worker = Worker("editor")

    def check(self, name: str, task: str, field: str) -> None:
        """Nothing if the model exists, does `task` and is on this machine. Reads the disk.

        ModelNotFound, ModelNotPulled, or InvalidRequest naming `field` for a model of another task.
        """
        manifest = self.repository.get(name)
        if manifest.task != task:
            fit = ", ".join(sorted(one.name for one in self.repository.manifests() if one.task == task)) or "none here"
            raise InvalidRequest.single(field, f"{name} is a model for {manifest.task}; for {task} there is {fit}")
        if self.repository.state(name) != "READY":
            raise ModelNotPulled(name)

    def first_of(self, task: str) -> str:
        """The name of the first model for `task` that is on this machine, "" if there is none. Reads the disk."""
        fit = (one.name for one in self.repository.manifests() if one.task == task)
        return next((name for name in sorted(fit) if self.repository.state(name) == "READY"), "")

    def state(self, name: str) -> ModelState | None:
        """Whether the model is on this machine, None if it is not known at all. Reads the disk."""
        known = any(one.name == name for one in self.repository.manifests())
        return self.repository.state(name) if known else None

    def ready(self, task: str) -> list[str]:
        """Names of the models for `task` that are on this machine. Reads the disk."""
        names = [one.name for one in self.repository.manifests() if one.task == task]
        return [name for name in names if self.repository.state(name) == "READY"]

    async def open(self, name: str) -> OpenModel:
        """The model, from memory if it is there. ModelNotFound, ModelNotPulled, DataCorrupted, FailedPrecondition."""
        async with self.lineup.use(name) as opened:
            return opened

    async def preload(self) -> None:
        """Opens and warms every model that is on this machine, so that the first request need not wait."""
        for manifest in await asyncio.to_thread(self.repository.manifests):
            if manifest.task in TASKS and await asyncio.to_thread(self.repository.state, manifest.name) == "READY":
                await self.lineup.load(manifest.name)

    async def close(self) -> None:
        """Fails what waits, lets the running call end and frees all models."""
        await self.pool.close()
        await self._worker.close()

    async def _size(self, key: ModelKey) -> int:
        return await asyncio.to_thread(self.repository.weight_bytes, key.reference)

    async def _open(self, key: ModelKey) -> OpenModel:
        return await self._worker.run(self._load, key.reference)

    async def _close(self, opened: OpenModel) -> None:
        await opened.graph.close()
        await self._worker.run(opened.engine.close)
        logger.info("model closed", extra={"fields": {"model": opened.ref.name}})

    def _load(self, name: str) -> OpenModel:
        local = self.repository.open(name)
        manifest = local.manifest
        variant = variant_for(local.builds, self._engine)
        engine = open_engine(
            local.path(_FILE),
            choice=self._engine,
            threads=self._threads,
            precision=manifest.precision,
            keep_memory=manifest.task not in _HUNGRY,
            built=variant.files.get(_FILE) if variant else None,
        )
        _check_axes(engine, manifest.name)
        graph = BatchedGraph(
            engine, self._worker, most_calls=_MOST_ROWS, telemetry=self._telemetry, outputs=_answers(manifest)
        )
        logger.info("model open", extra={"fields": {"model": name, "engine": engine.name, "provider": engine.provider}})
        ref = model_ref(manifest, digest=local.digest, engine=engine.name, precision=engine.precision)
        return OpenModel(manifest, ref, graph, self.lineup)


def _answers(manifest: Manifest) -> Sequence[str] | None:
    """Names of the outputs that are wanted: those of the manifest, else all."""
    return [spec.name for spec in manifest.tensors.outputs] if manifest.tensors is not None else None


def _check_axes(engine: Engine, name: str) -> None:
    """Nothing if every input has a batch axis, or is a vector; FailedPrecondition for other graphs."""
    if not engine.inputs or not all(spec.shape for spec in engine.inputs):
        taken = ", ".join(str(spec) for spec in engine.inputs) or "nothing"
        raise FailedPrecondition(
            f"model {name} takes {taken}; the editor runs graphs whose inputs all begin with a batch axis",
            reason="UNSUPPORTED_GRAPH",
        )


def _is_picture(spec: TensorSpec) -> bool:
    return spec.shape[1] in (3, "?") or _channels_last(spec)


def _channels_last(spec: TensorSpec) -> bool:
    return spec.shape[3] == 3 and spec.shape[1] != 3


def _blank(spec: TensorSpec) -> Array:
    """Zeros for one row, sizes that vary being small."""
    shape = [size if isinstance(size, int) else _WARMING_SIDE for size in spec.shape]
    if len(shape) > 1:
        shape[0] = 1
    return np.zeros(shape, spec.dtype)
