"""The editor's models: opened when first needed, each behind a batcher of its own, all on one worker."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from diptych.engines import Engine, open_engine
from diptych.engines.base import TensorSpec
from diptych.engines.select import EngineChoice
from diptych.errors import FailedPrecondition, InvalidRequest, ModelNotPulled
from diptych.repository.manifest import Manifest
from diptych.repository.repository import ModelRepository, ModelState
from diptych.serving.dynamic_batcher import DynamicBatcher
from diptych.serving.model_pool import ModelPool
from diptych.serving.model_service import model_ref
from diptych.serving.telemetry import Telemetry
from diptych.serving.worker import Worker
from diptych.v1 import image_pb2
from services.editor.color_spaces import Floats

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
    engine: Engine
    batcher: DynamicBatcher[Row, Row]
    memory_bytes: int
    pool: "ModelPool[OpenModel]"

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """(height, width) of the picture that the graph takes, None if it takes any."""
        spec = self._picture
        height, width = spec.shape[1:3] if _channels_last(spec) else spec.shape[2:4]
        return (height, width) if isinstance(height, int) and isinstance(width, int) else None

    async def run(self, planes: Floats, deadline: float | None) -> Floats:
        """The main output, such as (C', H', W') float32, for (3, H, W) float32, whichever order the graph's axes have.

        Rows of one shape, whoever sent them, may share a call. FailedPrecondition for a graph with other inputs.
        """
        spec = self._picture
        turned = _channels_last(spec)
        results = await self.run_row({spec.name: planes.transpose(1, 2, 0) if turned else planes}, deadline)
        answer = results[self._answers[0]]
        return answer.transpose(2, 0, 1) if turned and answer.ndim == 3 else answer

    async def run_row(self, row: Row, deadline: float | None) -> Row:
        """Outputs by name for inputs by name, neither with the batch axis. FailedPrecondition for outputs of NaN."""
        # For each call anew: unloaded between two tiles, the model is opened again and the edit goes on.
        async with self.pool.use(self.manifest.name) as opened:
            answer = await opened.batcher.submit(row, deadline)
        if not all(np.isfinite(values).all() for values in answer.values()):
            raise FailedPrecondition(
                f"model {self.manifest.name} answered with values that are no numbers; its file or engine is broken: "
                f"run diptych models verify {self.manifest.name}, or name another model",
                reason="MODEL_BROKEN",
            )
        return answer

    @property
    def _answers(self) -> tuple[str, ...]:
        return _answers(self.manifest, self.engine)

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
    """Opens models by name; `pool` has those that are in memory."""

    def __init__(
        self, repository: ModelRepository, *, engine: EngineChoice = "auto", threads: int = 0, telemetry: Telemetry
    ) -> None:
        self.repository = repository
        self.pool: ModelPool[OpenModel] = ModelPool(self._open, self._close)
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
        return await self.pool.load(name)

    async def preload(self) -> None:
        """Opens and warms every model that is on this machine, so that the first request need not wait."""
        for manifest in await asyncio.to_thread(self.repository.manifests):
            if manifest.task in TASKS and await asyncio.to_thread(self.repository.state, manifest.name) == "READY":
                opened = await self.open(manifest.name)
                await opened.run_row({spec.name: _blank(spec) for spec in opened.engine.inputs}, None)

    async def close(self) -> None:
        """Fails what waits, lets the running call end and frees all models."""
        await self.pool.close()
        await self._worker.close()

    async def _open(self, name: str) -> OpenModel:
        return await self._worker.run(self._load, name)

    async def _close(self, opened: OpenModel) -> None:
        await opened.batcher.close()
        await self._worker.run(opened.engine.close)
        logger.info("model closed", extra={"fields": {"model": opened.ref.name}})

    def _load(self, name: str) -> OpenModel:
        local = self.repository.open(name)
        manifest = local.manifest
        engine = open_engine(
            local.path(_FILE),
            choice=self._engine,
            threads=self._threads,
            precision=manifest.precision,
            keep_memory=manifest.task not in _HUNGRY,
        )
        answers = _answers(manifest, engine)
        batcher = DynamicBatcher[Row, Row](
            self._worker,
            lambda rows: _run(engine, answers, rows),
            key=lambda row: tuple(sorted((name, array.shape) for name, array in row.items())),
            max_batch=_most_rows(engine, name),
            telemetry=self._telemetry,
        )
        logger.info("model open", extra={"fields": {"model": name, "engine": engine.name, "provider": engine.provider}})
        ref = model_ref(manifest, digest=local.digest, engine=engine.name)
        return OpenModel(manifest, ref, engine, batcher, local.weight_bytes, self.pool)


def _answers(manifest: Manifest, engine: Engine) -> tuple[str, ...]:
    """Names of the outputs that are wanted: those of the manifest, else all."""
    outputs = manifest.tensors.outputs if manifest.tensors is not None else engine.outputs
    return tuple(spec.name for spec in outputs)


def _most_rows(engine: Engine, name: str) -> int:
    """How many rows share a call: what the first axis of the inputs allows; one where an input has that axis only."""
    if not engine.inputs or not all(spec.shape for spec in engine.inputs):
        taken = ", ".join(str(spec) for spec in engine.inputs) or "nothing"
        raise FailedPrecondition(
            f"model {name} takes {taken}; the editor runs graphs whose inputs all begin with a batch axis",
            reason="UNSUPPORTED_GRAPH",
        )
    if any(len(spec.shape) == 1 for spec in engine.inputs):
        return 1
    return min([_MOST_ROWS, *(spec.shape[0] for spec in engine.inputs if isinstance(spec.shape[0], int))])


def _run(engine: Engine, answers: Sequence[str], rows: Sequence[Row]) -> list[Row]:
    """The wanted outputs for each row; runs on the worker."""
    batch = {}
    for spec in engine.inputs:
        # A vector is no picture of a batch: it is for the one row that such a graph takes.
        values = rows[0][spec.name] if len(spec.shape) == 1 else np.stack([row[spec.name] for row in rows])
        batch[spec.name] = values.astype(spec.dtype, copy=False)
    results = engine.run(batch, answers)
    return [
        {name: results[name][index].astype(np.float32, copy=False) for name in answers} for index in range(len(rows))
    ]


def _is_picture(spec: TensorSpec) -> bool:
    return spec.shape[1] in (3, "?") or _channels_last(spec)


def _channels_last(spec: TensorSpec) -> bool:
    return spec.shape[3] == 3 and spec.shape[1] != 3


def _blank(spec: TensorSpec) -> Floats:
    """Zeros of the shape of one row, sizes that vary being small."""
    shape = spec.shape if len(spec.shape) == 1 else spec.shape[1:]
    return np.zeros([size if isinstance(size, int) else _WARMING_SIDE for size in shape], np.float32)
