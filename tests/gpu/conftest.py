"""What the tests on a GPU share: a small denoiser exported once, and a place for what is worth looking at."""

import os
from pathlib import Path

import pytest

from diptych.engines.cuda import capability


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A denoiser of Stable Diffusion's kind with few channels: `single` and `half` precision, each as three graphs."""
    from benchmarks.gpu_models import denoisers
    from benchmarks.gpu_prepare import prepare

    folder = tmp_path_factory.mktemp("prepared")
    one = denoisers(toy=True)[0]
    prepare(one, folder / "single", half=False)
    prepare(one, folder / "half", half=True)
    return folder


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Where pictures are left for whoever looks at them: `$OUT`, else a temporary folder."""
    folder = Path(os.environ.get("OUT") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = [item for item in items if Path(__file__).parent in item.path.parents]
    for item in here:
        item.add_marker(pytest.mark.gpu)
        if not capability():
            item.add_marker(pytest.mark.skip(reason="there is no NVIDIA GPU on this machine"))
