"""What tests of several folders share."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models with one, `tiny`: text to image with the true architecture and few channels."""
    from tiny_diffusion import write_tiny_model  # torch and diffusers take seconds to import

    return write_tiny_model(tmp_path_factory.mktemp("models"))
