from dataclasses import dataclass, field
from typing import Any, cast

import grpc
import pytest

from diptych.errors import DataCorrupted, InvalidRequest, ModelNotPulled, NotFound
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


class Catalog:
    def manifests(self) -> list[Manifest]:
        return [
            Manifest("zoom", "upscale", defaults={"scale": 4, "mode": "photo"}),
            Manifest("cut", "matting"),
            Manifest("far", "matting"),
            Manifest("words", "text-embedding"),
        ]

    def state(self, name: str) -> str:
        return "NOT_PULLED" if name == "far" else "READY"


@dataclass
class Opened:
    ref: image_pb2.ModelRef
    memory_bytes: int = 7


async def open_model(name: str) -> Opened:
    if name == "cut":
        raise DataCorrupted("cut/model.onnx is damaged")
    return Opened(image_pb2.ModelRef(name=name, version="1.0", digest="sha256:00", engine="fake"))


async def close_model(opened: Opened) -> None:
    opened.memory_bytes = 0


@pytest.fixture
async def servicer() -> ModelServicer:
    pool = ModelPool(open_model, close_model)
    await pool.load("zoom")
    return ModelServicer(Catalog(), pool, tasks={"upscale", "matting"})


async def test_models_of_this_service_by_name_with_their_state(servicer: ModelServicer) -> None:
    models = (await servicer.ListModels(model_pb2.ListModelsRequest(), NO_CONTEXT)).models
    assert [(model.ref.name, model.state) for model in models] == [
        ("cut", model_pb2.MODEL_STATE_AVAILABLE),
        ("far", model_pb2.MODEL_STATE_NOT_PULLED),
        ("zoom", model_pb2.MODEL_STATE_READY),
    ]
    assert "diptych models pull far" in models[1].detail
    assert models[0].ref.kind == image_pb2.MODEL_KIND_EDITING
    assert models[2].ref.digest == "sha256:00"
    assert dict(models[2].defaults) == {"scale": "4", "mode": "photo"}


async def test_models_for_one_task(servicer: ModelServicer) -> None:
    models = (await servicer.ListModels(model_pb2.ListModelsRequest(task="upscale"), NO_CONTEXT)).models
    assert [model.ref.name for model in models] == ["zoom"]


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
