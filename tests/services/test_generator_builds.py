"""A generator that is served from a build: chosen because it was measured to be faster, named in the record, near the
model's own pictures; its weights in the graph or, as those of more than 2 GB are, beside it."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from diptych.client import AsyncClient
from diptych.errors import DataCorrupted
from diptych.export import BuildOptions, build_model
from diptych.export.build_compare import psnr_of
from diptych.export.weights import store_weights
from diptych.repository import ModelRepository
from diptych.repository.builds import write_build
from diptych.v1 import generator_pb2 as v1
from diptych.v1 import image_pb2
from services.generator.app import GeneratorConfig, build

RAW = image_pb2.OutputOptions(format=image_pb2.IMAGE_FORMAT_RAW)


async def drawn(models: Path) -> tuple[np.ndarray, image_pb2.ModelRef]:
    """A picture of a generator over its socket, and the model that the record names."""
    spec = v1.GenerationSpec(prompt="a red apple", seed=7, output=RAW)
    config = GeneratorConfig(port=0, models=models, model="tiny", threads=1)
    async with await build(config) as server, AsyncClient(generator_address=server.address) as client:
        answer = await client.generate_image(v1.GenerateImageRequest(spec=spec), timeout=600)
    return np.frombuffer(answer.images[0].image.content, np.uint8), answer.record.models[0]


@pytest.mark.parametrize("beside", [False, True], ids=["in the graph", "beside it"])
async def test_a_faster_build_is_served(
    tiny_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beside: bool
) -> None:
    monkeypatch.setenv("DIPTYCH_BUILDS", str(tmp_path))
    if beside:
        monkeypatch.setattr("diptych.export.build_made.store_weights", partial(store_weights, largest_inside=1000))
    own, model = await drawn(tiny_models)
    assert (model.engine, model.precision) == ("onnxruntime", "fp32")
    ((folder, made),) = build_model(ModelRepository([tiny_models]), "tiny", BuildOptions(precision="fp16"))
    assert all((part.weights is not None) == beside for part in made.parts)
    # Half precision gains nothing on a CPU; a build that was measured to gain is what is served.
    write_build(folder, made.model_copy(update={"milliseconds": 1.0, "source_milliseconds": 2.0}))
    built, model = await drawn(tiny_models)
    assert (model.engine, model.precision, model.batch_tolerance) == ("onnxruntime", "fp16", 0)
    assert not np.array_equal(built, own)
    assert psnr_of([own], [built], peak=255) > 40
    if beside:
        weights = folder / str(made.parts[0].weights)
        weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
        with pytest.raises(DataCorrupted, match="build again"):
            await drawn(tiny_models)
