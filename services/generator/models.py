"""The generator's models: each with a pipeline of its own, all stepped by one batcher on one worker."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Hashable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from diptych.diffusion import Defaults, Pipeline, PreviewMap, Row, RowSpec, open_pipeline
from diptych.engines.providers import CPU, CUDA
from diptych.engines.select import EngineChoice
from diptych.engines.variants import variant_for
from diptych.errors import InvalidRequest, ModelNotFound, ModelNotPulled
from diptych.images import Pixels
from diptych.repository import ModelRepository
from diptych.serving.continuous_batcher import ContinuousBatcher, Sketch
from diptych.serving.graphs import BatchedGraph
from diptych.serving.lineup import Lineup, ModelKey
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
    graphs: Mapping[str, BatchedGraph] = field(default_factory=dict)
    _keys: dict[tuple[int, int], Hashable] = field(default_factory=dict)

    @property
    def memory_bytes(self) -> int:
        """What its engines hold."""
        return sum(engine.memory_bytes for engine in self.pipeline.engines.values())

    async def warm_up(self) -> None:
        """Nothing: it is opened warm."""

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
    """Opens models by name, `name@version` or alias. `default` serves requests that name none."""

    def __init__(
        self,
        repository: ModelRepository,
        *,
        default: str,
        stages: Stages,
        max_rows: int,
        max_models: int,
        memory_budget: int = 0,
        engine: EngineChoice = "auto",
        threads: int = 0,
        telemetry: Telemetry,
    ) -> None:
        self.repository = repository
        self.stages = stages
        self.batcher: ContinuousBatcher[ModelRow] = ContinuousBatcher(
            stages.denoise, step_together, max_rows=max_rows, telemetry=telemetry
        )
        self.pool: ModelPool[ModelKey, GeneratorModel] = ModelPool(
            self._open, self._close, max_open=max_models, max_bytes=memory_budget or None, size_of=self._size
        )
        self.lineup = Lineup(repository, self.pool)
        self._telemetry = telemetry
        self._most_calls = max_rows
        self._default = default
        self._engine: EngineChoice = engine
        self._threads = threads

    @asynccontextmanager
    async def use(self, name: str) -> AsyncIterator[GeneratorModel]:
        """The model, opened if it is not, for as long as the block lasts; the default for an empty name.

        ModelNotFound, ModelNotPulled, InvalidRequest for a model that does not draw, and what opening raises.
        """
        wanted = name or self._default
        if self.lineup.find(wanted) is None:
            await asyncio.to_thread(self._check, wanted)
        async with self.lineup.use(wanted) as model:
            yield model

    async def close(self) -> None:
        """Fails what still runs, lets the step under way end and frees all models."""
        await self.batcher.close()
        await self.stages.close()
        await self.pool.close()

    def _check(self, reference: str) -> None:
        drawing = sorted({manifest.name for manifest in self.repository.manifests() if manifest.task == TASK})
        try:
            manifest = self.repository.get(reference)
        except ModelNotFound:
            raise ModelNotFound(reference[:100], drawing) from None
        if manifest.task != TASK:
            fault = f"{reference} is for {manifest.task}; those that draw: {', '.join(drawing)}"
            raise InvalidRequest.single("spec.model", fault)
        if self.repository.state(reference) != "READY":
            raise ModelNotPulled(reference)

    async def _size(self, key: ModelKey) -> int:
        return await asyncio.to_thread(self.repository.weight_bytes, key.reference)

    async def _open(self, key: ModelKey) -> GeneratorModel:
        # A thread of its own: those who draw with other models go on meanwhile.
        ref, pipeline, seconds = await asyncio.to_thread(self._load, key.reference)
        model = GeneratorModel(ref, pipeline, self._graphs(pipeline))
        if seconds < _MOST_WARM_UP_SECONDS:
            await self._measure(model)
        return model

    def _graphs(self, pipeline: Pipeline) -> dict[str, BatchedGraph]:
        """Each graph alone, on the thread of its stage."""
        graphs = {}
        for part, engine in pipeline.engines.items():
            worker = self.stages.denoise
            if part.startswith("text_encoder") or part in ("image_encoder", "vae_encoder"):
                worker = self.stages.encode
            elif part == "vae_decoder":
                worker = self.stages.decode
            place = part.replace("/", ".")
            graphs[place] = BatchedGraph(engine, worker, most_calls=self._most_calls, telemetry=self._telemetry)
        return graphs

    def _load(self, reference: str) -> tuple[image_pb2.ModelRef, Pipeline, float]:
        """How records name the model, its pipeline, warm, and how many seconds warming took."""
        local = self.repository.open(reference)
        preview = local.manifest.preview
        variant = variant_for(local.builds, self._engine)
        pipeline = open_pipeline(
            local.directory,
            Defaults.from_table(local.manifest.defaults),
            engine=self._engine,
            threads=self._threads,
            precision=local.manifest.precision,
            preview_map=PreviewMap(preview.weights, preview.bias) if preview else None,
            batch_sizes=local.manifest.batch_sizes,
            built=variant.files if variant else None,
        )
        ref = model_ref(local.manifest, digest=local.digest, engine=pipeline.engine_name, precision=pipeline.precision)
        if all(engine.provider == CPU for engine in pipeline.engines.values()):
            ref.batch_tolerance = 0
        elif variant is not None and variant.company_error is not None:
            ref.batch_tolerance = variant.company_error
        began = time.monotonic()
        pipeline.warm_up()
        seconds = time.monotonic() - began
        providers = ",".join(sorted({engine.provider for engine in pipeline.engines.values()}))
        logger.info(
            "model open",
            extra={"fields": {"model": reference, "engine": pipeline.engine_name, "provider": providers}},
        )
        return ref, pipeline, seconds

    async def _measure(self, model: GeneratorModel) -> None:
        """Draws two rows of nothing, so that the time of steps, alone and shared, is known to the first caller."""
        pipeline = model.pipeline
        if any(engine.provider == CUDA for engine in pipeline.engines.values()):
            # Each width of a call is recorded, by the thread that will make it.
            await self.stages.denoise.run(pipeline.warm_up, range(1, self._most_calls + 1))
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
        await asyncio.gather(*(graph.close() for graph in model.graphs.values()))
        await asyncio.to_thread(model.pipeline.close)
        logger.info("model closed", extra={"fields": {"model": model.ref.name}})
