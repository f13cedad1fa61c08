"""The editor's models: opened when first needed, each behind a batcher of its own, all on one worker."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from diptych.engines import Engine, open_engine
from diptych.engines.select import EngineChoice
from diptych.errors import FailedPrecondition, InvalidRequest, ModelNotPulled
from diptych.repository.manifest import Manifest
from diptych.repository.repository import ModelRepository
from diptych.serving.dynamic_batcher import DynamicBatcher
from diptych.serving.model_service import model_ref
from diptych.serving.telemetry import Telemetry
from diptych.serving.worker import Worker
from diptych.v1 import image_pb2
from services.editor.color_spaces import Floats

logger = logging.getLogger(__name__)

MATTING, UPSCALE = "matting", "upscale"
TASKS = (MATTING, UPSCALE)
_FILE = "model.onnx"
# More tiles in one call do not run faster on a CPU, and a call cannot be stopped.
_MOST_TILES = 2
_WARMING_SIDE = 64


@dataclass(frozen=True)
class OpenModel:
    """A model that is in memory. `fixed_size` is (height, width) where the graph takes no other."""

    manifest: Manifest
    ref: image_pb2.ModelRef
    fixed_size: tuple[int, int] | None
    engine: Engine
    batcher: DynamicBatcher[Floats, Floats]

    async def run(self, planes: Floats, deadline: float | None) -> Floats:
        """(C', H', W') float32 from (3, H, W) float32; tiles of one shape, whoever sent them, may share a call."""
        return await self.batcher.submit(planes, deadline)


class EditorModels:
    """Opens models by name. `loaded` holds the refs of those that are in memory."""

    def __init__(
        self, repository: ModelRepository, *, engine: EngineChoice = "auto", threads: int = 0, telemetry: Telemetry
    ) -> None:
        self.repository = repository
        self.loaded: dict[str, image_pb2.ModelRef] = {}
        self._engine: EngineChoice = engine
        self._threads = threads
        self._telemetry = telemetry
        self._worker = Worker("editor")
        self._open: dict[str, OpenModel] = {}
        self._opening = asyncio.Lock()

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

    async def open(self, name: str) -> OpenModel:
        """The model, from memory if it is there. ModelNotFound, ModelNotPulled, DataCorrupted, FailedPrecondition."""
        async with self._opening:
            if name not in self._open:
                self._open[name] = opened = await self._worker.run(self._load, name)
                self.loaded[name] = opened.ref
            return self._open[name]

    async def preload(self) -> None:
        """Opens and warms every model that is on this machine, so that the first request need not wait."""
        for manifest in await asyncio.to_thread(self.repository.manifests):
            if manifest.task in TASKS and await asyncio.to_thread(self.repository.state, manifest.name) == "READY":
                opened = await self.open(manifest.name)
                size = opened.fixed_size or (_WARMING_SIDE, _WARMING_SIDE)
                await opened.run(np.zeros((3, *size), np.float32), None)

    async def close(self) -> None:
        """Fails what waits, lets the running call end and frees all models."""
        for opened in self._open.values():
            await opened.batcher.close()
        await self._worker.close()
        for opened in self._open.values():
            opened.engine.close()
        self.loaded.clear()

    def _load(self, name: str) -> OpenModel:
        local = self.repository.open(name)
        manifest = local.manifest
        engine = open_engine(
            local.path(_FILE),
            choice=self._engine,
            threads=self._threads,
            precision=manifest.precision,
            # A matting graph sees the whole picture at once: kept, its working memory would be gigabytes at rest.
            keep_memory=manifest.task != MATTING,
        )
        shape = _input_shape(engine, name)
        rows = shape[0] if isinstance(shape[0], int) else _MOST_TILES
        answer = manifest.tensors.outputs[0].name if manifest.tensors is not None else engine.outputs[0].name
        batcher = DynamicBatcher[Floats, Floats](
            self._worker,
            lambda items: _run(engine, answer, items),
            key=lambda planes: planes.shape,
            max_batch=rows,
            telemetry=self._telemetry,
        )
        height, width = shape[2:]
        fixed = (height, width) if isinstance(height, int) and isinstance(width, int) else None
        logger.info("model open", extra={"fields": {"model": name, "engine": engine.name, "provider": engine.provider}})
        ref = model_ref(manifest, digest=local.digest, engine=engine.name)
        return OpenModel(manifest, ref, fixed, engine, batcher)


def _input_shape(engine: Engine, name: str) -> tuple[int | str, ...]:
    shapes = [spec.shape for spec in engine.inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][1] not in (3, "?"):
        taken = ", ".join(str(spec) for spec in engine.inputs)
        raise FailedPrecondition(
            f"model {name} takes {taken}; the editor runs graphs with one input (N, 3, H, W)",
            reason="UNSUPPORTED_GRAPH",
        )
    return shapes[0]


def _run(engine: Engine, answer: str, items: Sequence[Floats]) -> list[Floats]:
    """One result for each item, from the output `answer`; runs on the worker."""
    (taken,) = engine.inputs
    batch = np.stack(items).astype(taken.dtype, copy=False)
    result: np.ndarray[Any, Any] = engine.run({taken.name: batch}, [answer])[answer]
    return list(result.astype(np.float32, copy=False))
