"""Versions side by side, swapped under load; a budget of memory; other names. A real editor, asked for raw tensors."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from diptych.inference import open_inference_pb2_grpc as pb_grpc
from diptych.v1 import model_pb2, model_pb2_grpc
from tests.services import editor_house as house
from tests.services.tensor_house import answer, request, write_scaler

READY, AVAILABLE = model_pb2.MODEL_STATE_READY, model_pb2.MODEL_STATE_AVAILABLE


def write_version(root: Path, name: str, version: str, factor: float) -> None:
    """`root/name/version`, a model that multiplies by `factor`."""
    made = root / "made"
    write_scaler(made, name, factor)
    manifest = made / name / "manifest.toml"
    manifest.write_text(manifest.read_text().replace('version = "1.0"', f'version = "{version}"'))
    shutil.move(made / name, root / name / version)
    made.rmdir()


@asynccontextmanager
async def editor(root: Path, **settings: Any) -> AsyncIterator[tuple[Any, Any]]:
    async with house.editor(root, **settings) as (_, channel):
        yield pb_grpc.GRPCInferenceServiceStub(channel), model_pb2_grpc.ModelServiceStub(channel)


async def listed(models: Any) -> dict[tuple[str, str], int]:
    answer = await models.ListModels(model_pb2.ListModelsRequest())
    return {(model.ref.name, model.ref.version): model.state for model in answer.models}


async def scaled(tensors: Any, model: str, version: str = "") -> float:
    return answer(await tensors.ModelInfer(request(model, [1], version=version)))[0][0]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "models"
    root.mkdir()
    return root


async def test_versions_side_by_side(root: Path) -> None:
    for version, factor in (("1.2", 2.0), ("1.10", 3.0), ("2.0-rc1", 4.0)):
        write_version(root, "zoom", version, factor)
    (root / "repository.toml").write_text('[default_versions]\nzoom = "1.10"\n[aliases]\ntrial = "zoom@2.0-rc1"\n')
    async with editor(root) as (tensors, models):
        assert await scaled(tensors, "zoom") == 3
        assert await scaled(tensors, "zoom", "1.2") == 2
        assert await scaled(tensors, "trial") == 4
        assert await listed(models) == {
            ("zoom", "1.2"): READY, ("zoom", "1.10"): READY, ("zoom", "2.0-rc1"): READY
        }  # fmt: skip
        one = (await models.GetModel(model_pb2.GetModelRequest(name="trial"))).model
        assert (one.ref.version, list(one.aliases), one.default_version) == ("2.0-rc1", ["trial"], False)
        gone = await models.UnloadModel(model_pb2.UnloadModelRequest(name="zoom", version="1.2"))
        assert gone.model.state == AVAILABLE
        assert await scaled(tensors, "zoom") == 3


async def test_a_swap_under_load_fails_no_request(root: Path) -> None:
    """Clients keep asking while versions come, take over, and go; each answer is one version's, and newer and newer."""
    write_version(root, "zoom", "1", 1.0)
    heard: list[list[float]] = [[] for _ in range(4)]
    async with editor(root, max_queue=64) as (tensors, models):
        await models.LoadModel(model_pb2.LoadModelRequest(name="zoom"))
        over = asyncio.Event()

        async def keep_asking(answers: list[float]) -> None:
            while not over.is_set():
                answers.append(await scaled(tensors, "zoom"))

        askers = [asyncio.create_task(keep_asking(answers)) for answers in heard]
        for version in range(2, 7):
            await asyncio.to_thread(write_version, root, "zoom", str(version), float(version))
            loaded = await models.LoadModel(model_pb2.LoadModelRequest(name="zoom"))
            assert (loaded.model.ref.version, loaded.model.state) == (str(version), READY)
            assert await scaled(tensors, "zoom") == version
        over.set()
        await asyncio.gather(*askers)
        while sum(state == READY for state in (await listed(models)).values()) > 1:
            await asyncio.sleep(0.01)
        assert (await listed(models))["zoom", "6"] == READY
    for answers in heard:
        assert len(answers) > 10
        assert answers == sorted(answers), "an older version answered after a newer one"
        assert len(set(answers)) >= 3, "it was not asked while versions changed"


async def test_a_model_being_copied_hides_no_other(root: Path) -> None:
    write_version(root, "zoom", "1", 2.0)
    for copied in ("zoom/2", "other"):
        (root / copied).mkdir()
        (root / copied / "manifest.toml").touch()
    async with editor(root) as (tensors, models):
        assert await scaled(tensors, "zoom") == 2
        assert set(await listed(models)) == {("zoom", "1")}
        with pytest.raises(grpc.aio.AioRpcError, match=r"2/manifest.toml: version: is missing"):
            await models.LoadModel(model_pb2.LoadModelRequest(name="zoom", version="2"))


async def test_the_same_version_with_other_bytes_takes_over_too(root: Path) -> None:
    write_version(root, "zoom", "1", 5.0)
    async with editor(root) as (tensors, models):
        assert await scaled(tensors, "zoom") == 5
        shutil.rmtree(root / "zoom")
        write_version(root, "zoom", "1", 7.0)
        assert await scaled(tensors, "zoom") == 5, "what is in memory serves until it is told otherwise"
        before = (await models.GetModel(model_pb2.GetModelRequest(name="zoom"))).model
        assert before.state == AVAILABLE
        await models.LoadModel(model_pb2.LoadModelRequest(name="zoom"))
        assert await scaled(tensors, "zoom") == 7


async def test_a_new_version_that_cannot_be_opened_changes_nothing(root: Path) -> None:
    write_version(root, "zoom", "1", 2.0)
    async with editor(root) as (tensors, models):
        assert await scaled(tensors, "zoom") == 2
        write_version(root, "zoom", "2", 3.0)
        (root / "zoom/2/model.onnx").write_bytes(b"damaged")
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await models.LoadModel(model_pb2.LoadModelRequest(name="zoom"))
        assert error.value.code() == grpc.StatusCode.DATA_LOSS
        assert await scaled(tensors, "zoom") == 2
        assert (await listed(models))["zoom", "2"] == model_pb2.MODEL_STATE_FAILED


async def test_memory_stays_within_its_budget_and_nobody_is_refused(root: Path) -> None:
    names = [f"zoom-{letter}" for letter in "abcd"]
    for number, name in enumerate(names):
        write_version(root, name, "1", float(number))
    each = (root / "zoom-a/1/model.onnx").stat().st_size
    async with editor(root, memory_budget=2 * each + 1, max_running=16) as (tensors, models):

        async def watch() -> int:
            most = 0
            while True:
                answer = await models.ListModels(model_pb2.ListModelsRequest())
                assert answer.memory_budget_bytes == 2 * each + 1
                most = max(most, answer.memory_bytes)
                if over.is_set():
                    return most

        over = asyncio.Event()
        watching = asyncio.create_task(watch())
        results = await asyncio.gather(*(scaled(tensors, names[n % 4]) for n in range(40)))
        over.set()
        assert results == [n % 4 for n in range(40)]
        assert each < await watching <= 2 * each
        for name in ("zoom-a", "zoom-b", "zoom-a", "zoom-c"):
            await scaled(tensors, name)
        ready = {name for (name, _), state in (await listed(models)).items() if state == READY}
        assert ready == {"zoom-a", "zoom-c"}, "the one used longest ago was to make room"


async def test_a_model_beyond_the_whole_budget_is_refused_with_what_to_do(root: Path) -> None:
    write_version(root, "zoom", "1", 2.0)
    async with editor(root, memory_budget=10) as (tensors, _):
        with pytest.raises(grpc.aio.AioRpcError, match="raise --memory-budget") as error:
            await scaled(tensors, "zoom")
        assert error.value.code() == grpc.StatusCode.FAILED_PRECONDITION
