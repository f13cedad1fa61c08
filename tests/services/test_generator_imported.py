"""An imported model with ControlNets, served by the real generator over loopback and by the command that made it."""

from pathlib import Path

import numpy as np
import pytest
from toy_families import Toys, write_controlnet

from diptych import images
from diptych.cli.failures import run_command
from diptych.client import AsyncClient
from diptych.errors import InvalidRequest, Unsupported
from diptych.v1 import generator_pb2 as v1
from diptych.v1 import image_pb2
from services.generator.app import GeneratorConfig, build
from services.generator.constraints import edges
from tests.weight_server import hub

RAW = image_pb2.OutputOptions(format=image_pb2.IMAGE_FORMAT_RAW)
PICTURE = np.zeros((80, 80, 3), np.uint8)
PICTURE[20:60, 30:50] = (200, 40, 90)


def test_edges_are_lines_where_colours_meet() -> None:
    lines = edges(PICTURE)
    assert set(np.unique(lines)) == {0, 255}
    inside = lines[..., 0] > 0
    assert inside[18:62, 28:52].sum() == inside.sum() > 100
    assert not inside[25:55, 35:45].any()


@pytest.mark.filterwarnings("ignore")
async def test_an_imported_model_is_served(toys: Toys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the name of its hub repository, from a server that speaks the hub's protocol."""
    monkeypatch.setenv("DIPTYCH_CACHE", str(tmp_path / "cache"))
    source = toys.source("sd")
    files = {str(path.relative_to(source)): path.read_bytes() for path in source.rglob("*") if path.is_file()}
    net = write_controlnet(tmp_path / "net")
    arguments = ["models", "import", "hub:ada/sd", "--name", "mine", "--into", str(tmp_path / "models")]
    with hub({"ada/sd": files}, monkeypatch):
        assert run_command([*arguments, "--controlnet", f"edges={net}", "--license", "MIT"]) == 0
    assert "Imported from hub:ada/sd." in (tmp_path / "models/mine/manifest.toml").read_text()
    assert not (tmp_path / "cache/downloads/mine").exists()
    assert run_command([*arguments, "--controlnet", "edges"]) != 0
    config = GeneratorConfig(port=0, models=tmp_path / "models", model="mine", threads=1)
    picture = images.to_message(PICTURE)

    def request(**fields: object) -> v1.GenerateImageRequest:
        return v1.GenerateImageRequest(
            spec=v1.GenerationSpec(
                **{"prompt": "a red apple", "seed": 7, "num_inference_steps": 3, "output": RAW, **fields}  # type: ignore[arg-type]
            )
        )

    async with await build(config) as server, AsyncClient(generator_address=server.address) as client:
        plain = await client.generate_image(request(noise_schedule="heun"), timeout=120)
        held = v1.ConstraintImage(image=picture, kind=v1.CONSTRAINT_KIND_EDGES, scale=2)
        shaped = await client.generate_image(request(noise_schedule="heun", constraints=[held]), timeout=120)
        assert plain.resolved.noise_schedule == "heun"
        assert plain.images[0].image.content != shaped.images[0].image.content
        with pytest.raises(Unsupported, match="depth"):
            wrong = v1.ConstraintImage(image=picture, kind=v1.CONSTRAINT_KIND_DEPTH)
            await client.generate_image(request(constraints=[wrong]), timeout=120)
        with pytest.raises(InvalidRequest) as raised:
            bad = v1.ConstraintImage(kind=v1.CONSTRAINT_KIND_EDGES, scale=3)
            await client.generate_image(
                request(constraints=[bad], noise_schedule="lcm", num_inference_steps=51), timeout=120
            )
        fields = {violation.field for violation in raised.value.violations}
        assert {"spec.constraints[0].scale", "spec.num_inference_steps"} <= fields
