from dataclasses import dataclass, field
from typing import Any, cast

import grpc
import pytest

from diptych.errors import DataCorrupted, InvalidRequest, ModelNotFound, ModelNotPulled, NotFound
from diptych.serving.lineup import Lineup, ModelKey
from diptych.serving.model_pool import ModelPool
from diptych.serving.model_service import ModelServicer
from diptych.v1 import image_pb2, model_pb2

NO_CONTEXT = cast("grpc.aio.ServicerContext[Any, Any]", None)


@dataclass(frozen=True)
class Manifest:
    name: str
    task: str
    version: str = "1.0"
    kind: str = "EDITING"
    license: str = "MIT"
    origin: str = "made up"
    description: str = "A toy."
    precision: str = "fp32"
    defaults: dict[str, Any] = field(default_factory=dict)
    digest: str = "sha256:00"
    paths: tuple[str, ...] = ("model.onnx",)
    sources: tuple[str, ...] = ("file",)


class Catalog:
    def manifests(self) -> list[Manifest]:
        return [
            Manifest("cut", "matting"),
            Manifest("far", "matting"),
            Manifest("words", "text-embedding"),
            Manifest("zoom", "upscale", "0.9", digest="sha256:99"),
            Manifest("zoom", "upscale", defaults={"scale": 4, "mode": "photo"}, sources=("npm:zoom@3", "file")),
        ]

    def get(self, reference: str) -> Manifest:
        name, _, version = self.aliases().get(reference, reference).partition("@")
        for entry in self.manifests():
            if entry.name == name and entry.version == (version or "1.0"):
                return entry
        raise ModelNotFound(reference)

    def state(self, reference: str) -> str:
        return "NOT_PULLED" if reference == "far@1.0" else "READY"

    def aliases(self) -> dict[str, str]:
        return {"larger": "zoom", "speak": "words"}


@dataclass
class Opened:
    ref: image_pb2.ModelRef
    memory_bytes: int = 7

    async def warm_up(self) -> None:
        pass


async def open_model(key: ModelKey) -> Opened:
    if key.name == "cut":
        raise DataCorrupted("cut/model.onnx is damaged")
    return Opened(image_pb2.ModelRef(name=key.name, version=key.version, digest=key.digest, engine="fake"))


async def close_model(opened: Opened) -> None:
    opened.memory_bytes = 0


@pytest.fixture
async def servicer() -> ModelServicer:
    lineup = Lineup(Catalog(), ModelPool(open_model, close_model))
    await lineup.load("zoom")
    return ModelServicer(lineup, tasks={"upscale", "matting"})


async def test_models_of_this_service_by_name_with_their_state(servicer: ModelServicer) -> None:
    models = (await servicer.ListModels(model_pb2.ListModelsRequest(), NO_CONTEXT)).models
    assert [(model.ref.name, model.state) for model in models] == [
        ("cut", model_pb2.MODEL_STATE_AVAILABLE),
        ("far", model_pb2.MODEL_STATE_NOT_PULLED),
        ("zoom", model_pb2.MODEL_STATE_AVAILABLE),
        ("zoom", model_pb2.MODEL_STATE_READY),
    ]
    assert "diptych models pull far" in models[1].detail
    assert models[0].ref.kind == image_pb2.MODEL_KIND_EDITING
    old, zoom = models[2:]
    assert (old.ref.version, old.default_version, list(old.aliases)) == ("0.9", False, [])
    assert (zoom.ref.version, zoom.default_version, list(zoom.aliases)) == ("1.0", True, ["larger"])
    assert (zoom.ref.digest, zoom.ref.engine, zoom.memory_bytes, zoom.license) == ("sha256:00", "fake", 7, "MIT")
    assert list(zoom.sources) == ["npm:zoom@3", "file"]
    assert dict(zoom.defaults) == {"scale": "4", "mode": "photo"}


async def test_the_memory_that_all_take_and_may_take() -> None:
    async def size(key: ModelKey) -> int:
        return 7

    lineup = Lineup(Catalog(), ModelPool(open_model, close_model, max_bytes=20, size_of=size))
    for reference in ("zoom", "zoom@0.9", "words"):
        await lineup.load(reference)
    answer = await ModelServicer(lineup, tasks={"upscale"}).ListModels(model_pb2.ListModelsRequest(), NO_CONTEXT)
    assert (answer.memory_bytes, answer.memory_budget_bytes) == (14, 20)


async def test_versions_side_by_side_and_other_names(servicer: ModelServicer) -> None:
    old = (await servicer.LoadModel(model_pb2.LoadModelRequest(name="zoom", version="0.9"), NO_CONTEXT)).model
    assert (old.state, old.ref.digest) == (model_pb2.MODEL_STATE_READY, "sha256:99")
    aliased = (await servicer.GetModel(model_pb2.GetModelRequest(name="larger"), NO_CONTEXT)).model
    assert (aliased.ref.version, aliased.state) == ("1.0", model_pb2.MODEL_STATE_READY)
    with pytest.raises(NotFound):
        await servicer.GetModel(model_pb2.GetModelRequest(name="speak"), NO_CONTEXT)


async def test_models_for_one_task(servicer: ModelServicer) -> None:
    models = (await servicer.ListModels(model_pb2.ListModelsRequest(task="upscale"), NO_CONTEXT)).models
    assert [model.ref.name for model in models] == ["zoom", "zoom"]


async def test_one_model(servicer: ModelServicer) -> None:
    found = await servicer.GetModel(model_pb2.GetModelRequest(name="zoom", version="1.0"), NO_CONTEXT)
    assert found.model.ref.name == "zoom"


@pytest.mark.parametrize(("name", "version"), [("nothing", ""), ("zoom", "9.9"), ("words", "")])
async def test_an_unknown_model_is_told_with_those_there_are(servicer: ModelServicer, name: str, version: str) -> None:
    with pytest.raises(NotFound, match=r"zoom 1\.0") as error:
        await servicer.GetModel(model_pb2.GetModelRequest(name=name, version=version), NO_CONTEXT)
    assert error.value.reason == "MODEL_NOT_FOUND"


async def test_an_empty_name_is_the_callers_fault(servicer: ModelServicer) -> None:
    with pytest.raises(InvalidRequest, match="name"):
        await servicer.GetModel(model_pb2.GetModelRequest(), NO_CONTEXT)


async def test_a_model_goes_out_of_memory_and_in_again(servicer: ModelServicer) -> None:
    request = model_pb2.UnloadModelRequest(name="zoom")
    for _ in range(2):  # Twice is once.
        gone = (await servicer.UnloadModel(request, NO_CONTEXT)).model
        assert (gone.state, gone.memory_bytes, gone.ref.digest) == (model_pb2.MODEL_STATE_AVAILABLE, 0, "")
    back = (await servicer.LoadModel(model_pb2.LoadModelRequest(name="zoom"), NO_CONTEXT)).model
    assert (back.state, back.memory_bytes, back.ref.digest) == (model_pb2.MODEL_STATE_READY, 7, "sha256:00")


async def test_a_model_that_is_not_here_says_how_to_get_it(servicer: ModelServicer) -> None:
    with pytest.raises(ModelNotPulled, match="diptych models pull far"):
        await servicer.LoadModel(model_pb2.LoadModelRequest(name="far"), NO_CONTEXT)
    with pytest.raises(NotFound):
        await servicer.LoadModel(model_pb2.LoadModelRequest(name="words"), NO_CONTEXT)
    with pytest.raises(NotFound):
        await servicer.UnloadModel(model_pb2.UnloadModelRequest(name="nothing"), NO_CONTEXT)


async def test_a_failed_loading_is_told_and_remembered(servicer: ModelServicer) -> None:
    with pytest.raises(DataCorrupted):
        await servicer.LoadModel(model_pb2.LoadModelRequest(name="cut"), NO_CONTEXT)
    model = (await servicer.GetModel(model_pb2.GetModelRequest(name="cut"), NO_CONTEXT)).model
    assert (model.state, model.detail) == (model_pb2.MODEL_STATE_FAILED, "cut/model.onnx is damaged")
