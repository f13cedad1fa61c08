"""An offer to convert against: the tiny model, never stepped here."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from diptych.diffusion import Defaults, open_pipeline
from diptych.images import ImageLimits
from diptych.v1 import image_pb2
from services.generator.convert import Offer


@pytest.fixture(scope="session")
def offer(tiny_models: Path) -> Iterator[Offer]:
    pipeline = open_pipeline(tiny_models / "tiny", Defaults(4, 3.0), threads=1)
    model = image_pb2.ModelRef(name="tiny", version="0.0.1", kind=image_pb2.MODEL_KIND_GENERATIVE)
    yield Offer(pipeline, model, ImageLimits(max_bytes=1_000_000, max_pixels=1_000_000))
    pipeline.close()
