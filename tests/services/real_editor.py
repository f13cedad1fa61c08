"""An editor in this process with the default models, and openly licensed photographs to look at."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest
import skimage.data

from diptych.repository.repository import ModelRepository
from tests.services import editor_house as house

MODELS = Path(__file__).resolve().parents[2] / "models"


@asynccontextmanager
async def editor(*needed: str, **settings: object) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to an editor that has the needed models alone; skips the test where one is not pulled."""
    repository = ModelRepository([MODELS])
    missing = [name for name in needed if repository.state(name) != "READY"]
    if missing:
        pytest.skip(f"{', '.join(missing)} not pulled; run: diptych models pull {' '.join(missing)}")
    # Only these: what a network that is not needed would add is not what the test is about.
    with tempfile.TemporaryDirectory() as root:
        for name in needed:
            (Path(root) / name).symlink_to(MODELS / name)
        async with house.editor(Path(root), **settings) as (_, channel):
            yield channel


def astronaut() -> np.ndarray:
    """A portrait, 512 x 512: Eileen Collins, NASA, public domain."""
    return np.asarray(skimage.data.astronaut())


def cat() -> np.ndarray:
    """A cat's face that fills the picture, 451 x 300: Chelsea, CC0."""
    return np.asarray(skimage.data.chelsea())


def coffee() -> np.ndarray:
    """A cup on a table, 600 x 400, CC0."""
    return np.asarray(skimage.data.coffee())


def page() -> np.ndarray:
    """A scanned page of text, 384 x 191."""
    return np.repeat(np.asarray(skimage.data.page())[..., np.newaxis], 3, axis=2)
