"""Linear previews: every cell's points in their places."""

from pathlib import Path

import numpy as np
import pytest

from diptych.diffusion import PreviewMap
from diptych.errors import FailedPrecondition
from diptych.repository.manifest import read_manifest

DEFAULTS = Path(__file__).parents[4] / "models"


def test_points_stand_row_by_row_in_their_cell() -> None:
    red, green, blue, grey = [1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0], [0.5, 0.5, 0.5]
    drawn = PreviewMap([[*red, *green, *blue, *grey]], [0.0] * 12).pixels(np.array([[[1.0, 0.0]]], np.float32), (4, 2))
    assert drawn[:, :2].tolist() == [[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [128, 128, 128]]]
    assert not drawn[:, 2:].any()


@pytest.mark.parametrize("name", ["diptych-icons", "diptych-icons-turbo"])
def test_the_default_models_are_previewed_without_their_decoder(name: str) -> None:
    preview = read_manifest(DEFAULTS / name).preview
    assert preview is not None
    assert (len(preview.weights), len(preview.bias)) == (12, 3 * 4 * 4)
    blank = PreviewMap(preview.weights, preview.bias).pixels(np.zeros((12, 16, 16), np.float32), (64, 64))
    assert blank.std() < 20, "an empty latent is one even colour"


def test_a_map_without_a_square_of_points_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "diptych-icons"
    folder.mkdir()
    text = (DEFAULTS / "diptych-icons/manifest.toml").read_text()
    (folder / "manifest.toml").write_text(text.replace("bias = [", "bias = [0.5, "))
    with pytest.raises(FailedPrecondition, match="n x n points"):
        read_manifest(folder)
