"""Several models in one generator process: opened when named, stepped by one batcher, unloaded without a failure."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tiny_diffusion import write_manifest

from diptych.client import AsyncClient
from diptych.errors import DataCorrupted, InvalidRequest, ModelNotFound, ModelNotPulled
from diptych.serving.server import ServiceServer
from diptych.v1 import generator_pb2 as v1
from diptych.v1 import image_pb2, model_pb2
from services.generator.app import GeneratorConfig, build

RAW = image_pb2.OutputOptions(format=image_pb2.IMAGE_FORMAT_RAW)
READY, AVAILABLE = model_pb2.MODEL_STATE_READY, model_pb2.MODEL_STATE_AVAILABLE


@pytest.fixture(scope="module")
def two_models(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny`; `quick`, the same with other defaults; `damaged`; `absent`; and one for another task."""
    root = tmp_path_factory.mktemp("two")
    for name in ("tiny", "quick", "damaged", "absent", "cutter"):
        folder = shutil.copytree(tiny_models / "tiny", root / name)
        write_manifest(folder)
        text = (folder / "manifest.toml").read_text().replace('name = "tiny"', f'name = "{name}"', 1)
        if name == "quick":
            text = text.replace("guidance_scale = 3.0", "guidance_scale = 1.0").replace("steps = 4", "steps = 2")
        if name == "cutter":
            text = text.replace("text-to-image", "matting")
        (folder / "manifest.toml").write_text(text)
    (root / "damaged/unet/model.onnx").write_bytes(b"no graph")
    (root / "absent/unet/model.onnx").unlink()
    return root


@asynccontextmanager
async def generator(models: Path, **settings: Any) -> AsyncIterator[tuple[ServiceServer, AsyncClient]]:
    config = GeneratorConfig(port=0, models=models, model="tiny", threads=1, **settings)
    async with await build(config) as server, AsyncClient(generator_address=server.address) as client:
        yield server, client


async def draw(client: AsyncClient, model: str = "", **fields: Any) -> v1.GenerateImageResponse:
    spec = v1.GenerationSpec(prompt="a red apple", seed=7, output=RAW, model=model, **fields)
    return await client.generate_image(v1.GenerateImageRequest(spec=spec), timeout=600)


async def states(client: AsyncClient) -> dict[str, int]:
    answer = await client.list_models(model_pb2.ListModelsRequest(), service="generator")
    return {model.ref.name: model.state for model in answer.models}


async def test_a_model_is_opened_when_first_named_and_its_own_defaults_hold(two_models: Path) -> None:
    async with generator(two_models) as (_, client):
        assert await states(client) == {
            "absent": model_pb2.MODEL_STATE_NOT_PULLED,
            "damaged": AVAILABLE,
            "quick": AVAILABLE,
            "tiny": READY,
        }
        quick, tiny = await asyncio.gather(draw(client, "quick"), draw(client))
        assert (await states(client))["quick"] == READY
    assert (quick.resolved.model.name, quick.resolved.num_inference_steps) == ("quick", 2)
    assert (tiny.resolved.model.name, tiny.resolved.num_inference_steps) == ("tiny", 4)
    used = quick.record.models[0]
    assert (used.name, used.HasField("batch_tolerance"), used.batch_tolerance) == ("quick", True, 0)


async def test_models_side_by_side_draw_what_each_draws_alone(two_models: Path) -> None:
    async with generator(two_models, preload_models="quick") as (_, client):
        assert (await states(client))["quick"] == READY
        alone = [(await draw(client, name, num_inference_steps=9)).images[0].image for name in ("tiny", "quick")]
        together = await asyncio.gather(
            *(draw(client, name, num_inference_steps=9) for name in ("tiny", "quick", "tiny", "quick"))
        )
    assert [one.images[0].image for one in together] == alone * 2


async def test_unloading_waits_for_running_work_and_the_next_request_opens_it_again(two_models: Path) -> None:
    async with generator(two_models, preload_models="quick") as (_, client):
        spec = v1.GenerationSpec(prompt="a cat", model="quick", num_inference_steps=60, output=RAW)
        request = v1.StreamGenerateImageRequest(spec=spec)
        async with aclosing(client.stream_generate_image(request, timeout=600)) as events:
            assert (await anext(events)).HasField("accepted")
            unloading = asyncio.create_task(
                client.unload_model(model_pb2.UnloadModelRequest(name="quick"), service="generator", timeout=600)
            )
            kinds = [event.WhichOneof("event") async for event in events]
        assert kinds[-2:] == ["image", "completed"]
        gone = (await unloading).model
        assert (gone.state, gone.memory_bytes) == (AVAILABLE, 0)
        assert (await draw(client, "quick")).images
        again = await client.get_model(model_pb2.GetModelRequest(name="quick"), service="generator")
        assert again.model.state == READY


async def test_loading_and_unloading_under_load_fails_nobody(two_models: Path) -> None:
    async with generator(two_models, max_models=1) as (_, client):

        async def unload_again_and_again() -> None:
            while True:
                for name in ("tiny", "quick"):
                    request = model_pb2.UnloadModelRequest(name=name)
                    await client.unload_model(request, service="generator", timeout=600)
                await asyncio.sleep(0.02)

        unloading = asyncio.create_task(unload_again_and_again())
        results = await asyncio.gather(*(draw(client, ("tiny", "quick")[n % 2], num_images=2) for n in range(8)))
        unloading.cancel()
        await asyncio.wait([unloading])
        assert sum(state == READY for state in (await states(client)).values()) <= 1
    assert all(len(result.images) == 2 for result in results)


async def test_a_version_takes_over_under_load_and_pictures_under_way_are_finished(
    two_models: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(two_models / "tiny", tmp_path / "tiny/1")
    manifest = folder / "manifest.toml"
    text = manifest.read_text().replace('version = "0.0.1"', 'version = "1"').replace("steps = 4", "steps = 3")
    manifest.write_text(text)
    async with generator(tmp_path) as (_, client):
        drawn: list[list[tuple[str, int]]] = [[], [], []]

        async def keep_drawing(mine: list[tuple[str, int]]) -> None:
            while ("2", 5) not in mine:
                resolved = (await draw(client)).resolved
                mine.append((resolved.model.version, resolved.num_inference_steps))

        callers = [asyncio.create_task(keep_drawing(mine)) for mine in drawn]
        spec = v1.GenerationSpec(prompt="a cat", num_inference_steps=80, output=RAW)
        async with aclosing(
            client.stream_generate_image(v1.StreamGenerateImageRequest(spec=spec), timeout=600)
        ) as long:
            assert (await anext(long)).HasField("accepted")
            newer = shutil.copytree(folder, tmp_path / "tiny/2")
            text = text.replace('version = "1"', 'version = "2"').replace("steps = 3", "steps = 5")
            (newer / "manifest.toml").write_text(text)
            loaded = await client.load_model(model_pb2.LoadModelRequest(name="tiny"), service="generator", timeout=600)
            assert (loaded.model.ref.version, loaded.model.state) == ("2", READY)
            last = [event async for event in long][-1]
        assert last.completed.record.models[0].version == "1"
        assert (await draw(client)).resolved.model.version == "2"
        await asyncio.gather(*callers)
        old = await draw(client, "tiny@1")
    assert (old.resolved.model.version, old.resolved.num_inference_steps) == ("1", 3)
    for mine in drawn:
        assert mine == sorted(mine) and set(mine) == {("1", 3), ("2", 5)}


async def test_memory_is_told_while_a_model_is_in_it(two_models: Path) -> None:
    async with generator(two_models) as (_, client):
        loaded = await client.load_model(model_pb2.LoadModelRequest(name="quick"), service="generator", timeout=600)
        files = two_models / "quick"
        assert loaded.model.memory_bytes == sum(path.stat().st_size for path in files.rglob("*.onnx"))
        assert loaded.model.ref.digest.startswith("sha256:")


async def test_what_cannot_be_opened_is_told_and_harms_nobody(two_models: Path) -> None:
    async with generator(two_models) as (_, client):
        with pytest.raises(ModelNotFound, match="available: absent, damaged, quick, tiny"):
            await draw(client, "nothing")
        with pytest.raises(ModelNotPulled, match="diptych models pull absent"):
            await draw(client, "absent")
        with pytest.raises(InvalidRequest, match="cutter is for matting"):
            await draw(client, "cutter")
        with pytest.raises(DataCorrupted, match="damaged"):
            await draw(client, "damaged")
        assert (await states(client))["damaged"] == model_pb2.MODEL_STATE_FAILED
        assert (await draw(client)).images
