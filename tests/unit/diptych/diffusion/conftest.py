"""One open pipeline for the tests of this folder; rows are theirs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from diptych.diffusion import Defaults, Pipeline, open_pipeline


@pytest.fixture(scope="session")
def tiny_folder(tiny_models: Path) -> Path:
    return tiny_models / "tiny"


@pytest.fixture(scope="session")
def pipeline(tiny_folder: Path) -> Iterator[Pipeline]:
    opened = open_pipeline(tiny_folder, Defaults(4, 3.0), threads=1)
    yield opened
    opened.close()
