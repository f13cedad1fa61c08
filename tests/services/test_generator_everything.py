"""Everything that the generator can draw, all at once in one process, with callers who leave: each picture is, bit for
bit, the one drawn alone."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from google.protobuf.duration_pb2 import Duration
from safetensors.torch import save_file
from toy_families import Toys, write_ip_adapter

from diptych import images
from diptych.client import AsyncClient
from diptych.diffusion.schedule_names import suiting
from diptych.errors import DeadlineExceeded
from diptych.export import ImportOptions, import_model
from diptych.v1 import generator_pb2 as v1
from diptych.v1 import image_pb2, model_pb2
from services.generator.app import GeneratorConfig, build

RAW = image_pb2.OutputOptions(format=image_pb2.IMAGE_FORMAT_RAW)
PICTURE = np.kron(np.random.default_rng(5).integers(0, 256, (8, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
MASK = np.zeros((64, 64, 3), np.uint8)
MASK[16:48, 8:56] = 255
ORDERS = 16


@pytest.fixture(scope="module")
def models(toys: Toys, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`rich`, with two ControlNets, an IP-Adapter and a merged LoRA, and `sdxl`."""
    root = tmp_path_factory.mktemp("everything")
    base = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_v"
    generator = torch.Generator().manual_seed(3)
    down, up = torch.randn(4, 32, generator=generator), torch.randn(16, 4, generator=generator)
    save_file({f"{base}.lora_A.weight": down, f"{base}.lora_B.weight": up}, root / "ink.safetensors")
    options = ImportOptions(
        "rich",
        controlnets=dict.fromkeys(("edges", "depth"), toys.controlnet()),
        loras=((root / "ink.safetensors", 0.3),),
        ip_adapter=write_ip_adapter(root / "adapter"),
    )
    import_model(toys.source("sd"), root / "models", options)
    (root / "models/sdxl").symlink_to(toys.model("sdxl"))
    return root / "models"


@asynccontextmanager
async def generator(models: Path, **settings: Any) -> AsyncIterator[AsyncClient]:
    config = GeneratorConfig(port=0, models=models, model="rich", threads=1, **settings)
    async with await build(config) as server, AsyncClient(generator_address=server.address) as client:
        yield client


def an_order(chance: random.Random, number: int) -> v1.GenerationSpec:
    names = suiting("ddim")
    spec = v1.GenerationSpec(
        prompt=chance.choice(["a red apple", "a (blue:1.4) cat", "the sun on a (green (tree:2):0.5)"]),
        negative_prompt=chance.choice(["", "green", "(red:1.2) house"]),
        model=chance.choice(["rich", "rich", "rich", "sdxl"]),
        width=chance.choice([64, 64, 64, 80]),
        height=64,
        seed=chance.randrange(2**64),
        num_images=chance.choice([1, 1, 1, 3]),
        num_inference_steps=50 if number % 8 == 0 else chance.randint(1, 12),
        guidance_scale=chance.choice([1.0, 1.0, 4.5, 7.5]),
        noise_schedule=names[number % len(names)],
        output=RAW,
    )
    if spec.model == "rich" and chance.random() < 0.4:
        scale = chance.choice([0.4, 1.0])
        kinds = (v1.CONSTRAINT_KIND_EDGES, v1.CONSTRAINT_KIND_DEPTH)
        for kind in chance.sample(kinds, chance.randint(1, 2)):
            spec.constraints.add(image=images.to_message(PICTURE), kind=kind, scale=scale)
    if spec.model == "rich" and chance.random() < 0.4:
        roles = (v1.REFERENCE_ROLE_STYLE, v1.REFERENCE_ROLE_SUBJECT)
        spec.references.add(image=images.to_message(PICTURE), role=chance.choice(roles), scale=0.8)
    if chance.random() < 0.5:
        spec.init_image.CopyFrom(images.to_message(PICTURE))
        spec.strength = chance.choice([0.05, 0.5, 1.0])
        if chance.random() < 0.5:
            spec.mask_image.CopyFrom(images.to_message(MASK))
    return spec


async def drawn(client: AsyncClient, spec: v1.GenerationSpec) -> list[bytes]:
    response = await client.generate_image(v1.GenerateImageRequest(spec=spec), timeout=900)
    return [one.image.content for one in response.images]


async def watched(client: AsyncClient, spec: v1.GenerationSpec, leaves_after: int | None) -> list[bytes] | None:
    """The pictures as their events bring them; None for who left. Every picture's progress counts up by one."""
    request = v1.StreamGenerateImageRequest(spec=spec, preview_interval=2)
    pictures: dict[int, bytes] = {}
    steps: dict[int, list[int]] = {}
    async with aclosing(client.stream_generate_image(request, timeout=900)) as events:
        async for event in events:
            if leaves_after == 0:
                return None
            leaves_after = leaves_after and leaves_after - 1
            if event.HasField("progress"):
                steps.setdefault(event.progress.index, []).append(event.progress.step)
                assert event.progress.num_steps >= event.progress.step
            elif event.HasField("preview"):
                assert event.preview.step == steps[event.preview.index][-1]
            elif event.HasField("image"):
                pictures[event.image.index] = event.image.image.content
    assert all(taken == list(range(1, len(taken) + 1)) for taken in steps.values())
    return [pictures[index] for index in range(spec.num_images)]


async def film(client: AsyncClient, leaves_after: int) -> None:
    walk = v1.StreamAnimateLatentsRequest(
        keyframes=[v1.LatentKeyframe(prompt="a red apple", seed=1), v1.LatentKeyframe(prompt="a cat", seed=2)],
        num_inference_steps=2,
        duration=Duration(seconds=1),
        frames_per_second=12,
    )
    async with aclosing(client.stream_animate_latents(walk, timeout=900)) as events:
        async for event in events:
            assert event.WhichOneof("event")
            if leaves_after == 0:
                return
            leaves_after -= 1


async def hurried(client: AsyncClient, spec: v1.GenerationSpec) -> None:
    with suppress(DeadlineExceeded):
        await client.generate_image(v1.GenerateImageRequest(spec=spec), timeout=0.2)


async def reload(client: AsyncClient) -> None:
    """Takes the second model out of memory again and again."""
    while True:
        await client.unload_model(model_pb2.UnloadModelRequest(name="sdxl"), service="generator", timeout=900)
        await asyncio.sleep(0.2)


async def test_whatever_rides_along_each_picture_is_the_one_drawn_alone(models: Path) -> None:
    chance = random.Random(11)
    orders = [an_order(chance, number) for number in range(ORDERS)]
    async with generator(models) as client:
        alone = [await drawn(client, spec) for spec in orders]
    async with generator(models, max_rows=6) as client:
        reloading = asyncio.create_task(reload(client))

        async def live(number: int) -> None:
            luck = random.Random(number)
            await asyncio.sleep(luck.random() * 2)
            spec = orders[number]
            if number % 6 == 1:
                await watched(client, spec, luck.randint(0, 12))
            if number % 6 == 2:
                await hurried(client, spec)
            if number % 6 == 3:
                await film(client, luck.randint(0, 16))
            again = drawn(client, spec) if luck.random() < 0.4 else watched(client, spec, None)
            assert await again == alone[number], spec

        async with asyncio.TaskGroup() as group:
            for number in range(ORDERS):
                group.create_task(live(number))
        reloading.cancel()
        await asyncio.wait([reloading])
