"""The manifest that an export writes is the one that is served."""

import shutil
from pathlib import Path

import pytest

from diptych.diffusion import PreviewMap
from diptych.repository.manifest import read_manifest
from training.generator.manifest import write_manifest
from training.generator.prepare import read_config
from training.generator.preview_map import table

MODELS = Path(__file__).parents[4] / "models"


@pytest.mark.parametrize("name", ["diptych-icons", "diptych-icons-turbo"])
def test_an_export_writes_the_manifest_as_it_is_with_the_map_for_previews(name: str, tmp_path: Path) -> None:
    shutil.copytree(MODELS / "diptych-icons", tmp_path / "diptych-icons")
    shutil.copytree(MODELS / name, tmp_path / name, dirs_exist_ok=True)
    served = read_manifest(MODELS / name)
    assert served.preview is not None
    preview = table(PreviewMap(served.preview.weights, served.preview.bias))
    (tmp_path / name / "manifest.toml").unlink()
    write_manifest(tmp_path / name, served.version, read_config(), student=name.endswith("turbo"), preview=preview)
    assert (tmp_path / name / "manifest.toml").read_text() == (MODELS / name / "manifest.toml").read_text()
