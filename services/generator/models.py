"""The generator's models: each with a pipeline of its own, all stepped by one batcher on one worker."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from diptych.diffusion import Defaults, Pipeline, PreviewMap, Row, RowSpec, open_pipeline
from diptych.engines.select import EngineChoice
from diptych.errors import InvalidRequest, ModelNotFound, ModelNotPulled
from diptych.images import Pixels
from diptych.repository import ModelRepository
from diptych.serving.continuous_batcher import ContinuousBatcher, Sketch
from diptych.serving.model_pool import ModelPool
from diptych.serving.model_service import model_ref
from diptych.serving.telemetry import Telemetry
from diptych.serving.worker import Worker
from diptych.v1 import image_pb2

logger = logging.getLogger(__name__)

TASK = "text-to-image"
# Steps of a model that takes longer than this to warm up are measured on the first request instead.
_MOST_WARM_UP_SECONDS = 5.0


@dataclass(eq=False)
class ModelRow:
    """A row and the model that draws it."""

    model: "GeneratorModel"
    row: Row

    @property
    def key(self) -> Hashable:
        """Rows of one model and latent shape share a call."""
        return self.model.ref.name, self.model.ref.digest, self.row.key

    @property
    def finished(self) -> bool:
        """Whether it needs no further step."""
        return self.row.finished

    @property
    def num_steps(self) -> int:
        """Steps in all."""
        return self.row.num_steps

    @property
    def samples(self) -> int:
        """Two while guidance acts."""
        return len(self.row.conditions)


@dataclass(frozen=True, eq=False)
class GeneratorModel:
    """A model in memory. Each of its stages is to be called on a thread of its own."""

    ref: image_pb2.ModelRef
    pipeline: Pipeline
    memory_bytes: int
    _keys: dict[tuple[int, int], Hashable] = field(default_factory=dict)

    def prepare(self, spec: RowSpec) -> ModelRow:
        """A row at its first step."""
        row = ModelRow(self, self.pipeline.prepare(spec))
        self._keys[spec.width, spec.height] = row.key
        return row

    def preview(self, row: ModelRow) -> Pixels:
        """The picture that the row heads for."""
        return self.pipeline.preview(row.row)

    def finish(self, row: ModelRow) -> Pixels:
        """The drawn picture."""
        return self.pipeline.finish(row.row)

    def sketch(self, spec: RowSpec, num_calls: int) -> Sketch:
        """What is known of a row before it is prepared; `num_calls` as the pipeline counts them. A size that was never
        drawn has no time yet."""
        key = self._keys.get((spec.width, spec.height), (self.ref.name, spec.width, spec.height))
        return Sketch(key, num_calls, self.pipeline.most_samples(spec), finished=num_calls == 0)


def step_together(rows: Sequence[ModelRow]) -> None:
    """Advances rows of one key by one step."""
    rows[0].model.pipeline.step([one.row for one in rows])


class Stages:
    """The threads that a picture passes: text and pictures in, steps, pixels out. One picture's stages follow one
    another, those of different pictures overlap."""

    def __init__(self, name: str) -> None:
        self.encode = Worker(f"{name}-encode")
        self.denoise = Worker(name)
        self.decode = Worker(f"{name}-decode")

    async def close(self) -> None:
        """Drops what has not begun and returns when the rest is over."""
        await asyncio.gather(self.encode.close(), self.denoise.close(), self.decode.close())


class GeneratorModels:
    """Opens models by name. `default` serves requests that name none."""

    def __init__(
        self,
        repository: ModelRepository,
        *,
        default: str,
        stages: Stages,
        max_rows: int,
        max_models: int,
        engine: EngineChoice = "auto",
        threads: int = 0,
        telemetry: Telemetry,
    ) -> None:
        self.repository = repository
        self.stages = stages
        self.batcher: ContinuousBatcher[ModelRow] = ContinuousBatcher(
            stages.denoise, step_together, max_rows=max_rows, telemetry=telemetry
        )
        self.pool: ModelPool[GeneratorModel] = ModelPool(self._open, self._close, max_open=max_models)
        self._default = default
        self._engine: EngineChoice = engine
        self._threads = threads

    @asynccontextmanager
    async def use(self, name: str) -> AsyncIterator[GeneratorModel]:
        """The model, opened if it is not, for as long as the block lasts; the default for an empty name.

        ModelNotFound, ModelNotPulled, InvalidRequest for a model that does not draw, and what opening raises.
        """
        wanted = name or self._default
        if self.pool.find(wanted) is None:
            await asyncio.to_thread(self._check, wanted)
        async with self.pool.use(wanted) as model:
            yield model

    async def close(self) -> None:
        """Fails what still runs, lets the step under way end and frees all models."""
        await self.batcher.close()
        await self.stages.close()
        await self.pool.close()

    def _check(self, name: str) -> None:
        manifests = {manifest.name: manifest for manifest in self.repository.manifests()}
        drawing = [manifest.name for manifest in manifests.values() if manifest.task == TASK]
        if name not in manifests:
            raise ModelNotFound(name[:100], drawing)
        if name not in drawing:
            task = manifests[name].task
            raise InvalidRequest.single("spec.model", f"{name} is for {task}; those that draw: {', '.join(drawing)}")
        if self.repository.state(name) != "READY":
            raise ModelNotPulled(name)

    async def _open(self, name: str) -> GeneratorModel:
        # A thread of its own: those who draw with other models go on meanwhile.
        model, seconds = await asyncio.to_thread(self._load, name)
        if seconds < _MOST_WARM_UP_SECONDS:
            await self._measure(model)
        return model

    def _load(self, name: str) -> tuple[GeneratorModel, float]:
        """The model, warm, and how many seconds that took."""
        local = self.repository.open(name)
        preview = local.manifest.preview
        pipeline = open_pipeline(
            local.directory,
            Defaults.from_table(local.manifest.defaults),
            engine=self._engine,
            threads=self._threads,
            precision=local.manifest.precision,
            preview_map=PreviewMap(preview.weights, preview.bias) if preview else None,
        )
        ref = model_ref(local.manifest, digest=local.digest, engine=pipeline.engine_name)
        began = time.monotonic()
        pipeline.warm_up()
        seconds = time.monotonic() - began
        logger.info("model open", extra={"fields": {"model": name, "engine": pipeline.engine_name}})
        return GeneratorModel(ref, pipeline, local.weight_bytes), seconds

    async def _measure(self, model: GeneratorModel) -> None:
        """Draws two rows of nothing, so that the time of steps, alone and shared, is known to the first caller."""
        pipeline = model.pipeline
        width, height = pipeline.sizes.native
        guidance, schedule = pipeline.defaults.guidance_scale, pipeline.default_schedule
        rows = [
            await asyncio.to_thread(model.prepare, RowSpec("", width, height, 0, steps, guidance, schedule))
            for steps in (2, 4)
        ]
        async with self.batcher.submit(rows) as steps:
            async for _ in steps:
                pass

    async def _close(self, model: GeneratorModel) -> None:
        await asyncio.to_thread(model.pipeline.close)
        logger.info("model closed", extra={"fields": {"model": model.ref.name}})
