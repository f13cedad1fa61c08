"""Reference pictures and previews of an imported model, over gRPC, by the client and by the command."""

import asyncio
import io
import sys
import tomllib
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from toy_families import Toys, write_ip_adapter

from diptych import Constraint, Reference, StepPreview, images
from diptych.cli.failures import run_command
from diptych.client import AsyncClient
from diptych.diffusion import Defaults, PreviewMap, RowSpec, open_pipeline
from diptych.errors import InvalidRequest, Unsupported
from diptych.images import Pixels
from diptych.types import Picture
from diptych.v1 import generator_pb2 as v1
from services.generator.app import GeneratorConfig, build

PICTURE = np.kron(np.random.default_rng(5).integers(0, 256, (6, 9, 3)), np.ones((12, 12, 1))).astype(np.uint8)
OTHER = np.full((64, 64, 3), (20, 200, 90), np.uint8)
ASKED: dict[str, Any] = {
    "prompt": "a red apple",
    "model": "referred",
    "seed": 7,
    "num_inference_steps": 3,
    "guidance_scale": 5.0,
    "noise_schedule": "ddim",
}


@pytest.fixture(scope="module")
def models(toys: Toys, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `referred`, imported by the command with an IP-Adapter, and `plain`, the same without."""
    root = tmp_path_factory.mktemp("guided")
    adapter = write_ip_adapter(root / "adapter")
    for name, more in (("plain", ()), ("referred", ("--ip-adapter", str(adapter)))):
        given = ["models", "import", str(toys.source("sd")), "--name", name, "--into", str(root / "models"), *more]
        assert run_command(given) == 0
    return root / "models"


async def command(*arguments: str) -> tuple[int, str]:
    """Exit code and complaints of `diptych` as a process: its signal handlers want a main thread."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "from diptych.cli import main; main()", *arguments, stderr=asyncio.subprocess.PIPE
    )
    _, complaints = await process.communicate()
    return process.returncode or 0, complaints.decode()


def config(models: Path) -> GeneratorConfig:
    return GeneratorConfig(port=0, models=models, model="plain", threads=1)


def pixels(picture: Picture) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(picture.content)).convert("RGB"))


def apart(one: Pixels, other: Pixels) -> float:
    return float(np.abs(one.astype(float) - other).mean())


@pytest.mark.filterwarnings("ignore")
async def test_a_reference_guides_the_more_the_stronger_it_is(models: Path, tmp_path: Path) -> None:
    async with await build(config(models)) as server, AsyncClient(generator_address=server.address) as client:

        async def drawn(*references: Reference) -> Pixels:
            result = await client.generate(**ASKED, references=references, timeout=120)
            return pixels(result.image)

        plain = await drawn()
        ways = [apart(await drawn(Reference(PICTURE, "subject", scale)), plain) for scale in (0, 0.3, 1, 2)]
        assert ways[0] == 0 and ways == sorted(ways) and ways[1] > 0.3 and ways[3] > 2 * ways[1], ways
        full = await drawn(Reference(PICTURE, "subject"))
        assert apart(full, plain) == ways[2], "the weight is 1 when it is left out"
        assert apart(full, await drawn(Reference(OTHER, "subject"))) > 1, "any picture would do the same"

        Image.fromarray(PICTURE).save(tmp_path / "look.png")
        code, complaints = await command(
            "generate", "a red apple", "--model", "referred", "--seed", "7", "--steps", "3", "--guidance", "5",
            "--schedule", "ddim",
            "--reference", f"subject={tmp_path / 'look.png'}", "--reference-scale", "2",
            "--address", server.address, "-o", str(tmp_path / "drawn.png"),
        )  # fmt: skip
        assert code == 0, complaints
        by_command = np.asarray(Image.open(tmp_path / "drawn.png").convert("RGB"))
        assert np.array_equal(by_command, await drawn(Reference(PICTURE, "subject", 2)))


@pytest.mark.filterwarnings("ignore")
async def test_every_fault_of_a_reference_is_told_at_once_and_so_is_a_model_without(
    models: Path, tmp_path: Path
) -> None:
    async with await build(config(models)) as server, AsyncClient(generator_address=server.address) as client:
        faulty = v1.GenerationSpec(
            prompt="a red apple",
            model="referred",
            references=[
                v1.ReferenceImage(image=images.to_message(PICTURE), scale=3),
                v1.ReferenceImage(image=images.to_message(OTHER), role=v1.REFERENCE_ROLE_STYLE),
            ],
        )
        with pytest.raises(InvalidRequest) as raised:
            await client.generate_image(v1.GenerateImageRequest(spec=faulty), timeout=120)
        found = {violation.field for violation in raised.value.violations}
        assert found == {"spec.references", "spec.references[0].role", "spec.references[0].scale"}
        with pytest.raises(Unsupported, match="plain takes no reference pictures"):
            await client.generate("a red apple", references=[Reference(PICTURE)], timeout=120)
        with pytest.raises(Unsupported, match="takes no constraint pictures"):
            await client.generate("a red apple", constraints=[Constraint(PICTURE)], timeout=120)
        with pytest.raises(InvalidRequest, match=r"references\[0\]\.role: is 'mood'; choose style, subject"):
            await client.generate("a red apple", references=[Reference(PICTURE, "mood")])  # type: ignore[arg-type]
        with pytest.raises(InvalidRequest, match="give a list"):
            await client.generate("a red apple", references=Reference(PICTURE))  # type: ignore[arg-type]
        code, complaints = await command("generate", "x", "--reference", "look.png")
        assert code == 2
        assert "--reference: is 'look.png'; give WHAT=FILE, such as style=painting.png" in complaints
        code, complaints = await command("generate", "x", "--constraint", "edges=no.png", "--address", server.address)
        assert code == 2
        assert "there is no file no.png" in complaints
        Image.fromarray(PICTURE).save(tmp_path / "look.png")
        look = f"style={tmp_path / 'look.png'}"
        code, complaints = await command("generate", "x", "--reference", look, "--address", server.address)
        assert code == 1
        assert "model plain takes no reference pictures; leave references out" in complaints


@pytest.mark.filterwarnings("ignore")
async def test_previews_are_drawn_with_the_map_fitted_at_import(models: Path) -> None:
    stored = tomllib.loads((models / "plain/manifest.toml").read_text())["preview"]
    heard: list[StepPreview] = []
    async with await build(config(models)) as server, AsyncClient(generator_address=server.address) as client:
        asked = {**ASKED, "model": "plain", "num_inference_steps": 6}
        result = await client.generate(
            **asked,
            preview_interval=2,
            on_event=lambda event: heard.append(event) if isinstance(event, StepPreview) else None,
            timeout=120,
        )
    previews = [pixels(event.picture) for event in heard]
    final = pixels(result.image)
    with ExitStack() as opened:
        by_map, by_decoder = (
            opened.enter_context(closing(open_pipeline(models / "plain", Defaults(4, 5.0), threads=1, preview_map=one)))
            for one in (PreviewMap(stored["weights"], stored["bias"]), None)
        )
        row = by_map.prepare(RowSpec("a red apple", 64, 64, 7, 6, 5.0, "ddim"))
        mapped, decoded = [], []
        while not row.finished:
            by_map.step([row])
            mapped.append(by_map.preview(row))
            decoded.append(by_decoder.preview(row))
    assert [preview.shape for preview in previews] == [final.shape] * 2
    # A row may be a step further when its preview is drawn; and what travels is a JPEG.
    for step, preview in zip((2, 4), previews, strict=True):
        off = min(apart(preview, one) for one in mapped[step - 1 :])
        assert off < 6 and off < min(apart(preview, one) for one in decoded) / 3


def test_a_folder_that_does_not_exist_is_told_before_anything_is_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["models", "import", "/nowhere/model", "--name", "mine"]) == 2
    assert "/nowhere/model does not exist; give the folder of a whole pipeline" in capsys.readouterr().err
