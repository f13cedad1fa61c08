"""What tests of several folders share."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from toy_families import Toys

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session", autouse=True)
def no_models_of_the_users(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whoever runs the tests may have imported models and built some; they are not looked at."""
    os.environ["DIPTYCH_USER_MODELS"] = str(tmp_path_factory.getbasetemp() / "users-models")
    os.environ["DIPTYCH_BUILDS"] = str(tmp_path_factory.getbasetemp() / "builds")


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models with one, `tiny`: text to image with the true architecture and few channels."""
    from tiny_diffusion import write_tiny_model  # torch and diffusers take seconds to import

    return write_tiny_model(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> "Toys":
    """Toy models of every family: diffusers folders, and what an import makes of them."""
    from toy_families import Toys

    return Toys(tmp_path_factory.mktemp("toys"))
