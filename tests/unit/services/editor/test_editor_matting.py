"""A network's square answer brought back to the picture's size."""

import numpy as np
import pytest

from services.editor.cutting.matting import _leave


@pytest.mark.parametrize(("width", "height"), [(64, 48), (400, 300), (128, 128), (37, 91)])
def test_an_answer_fits_pictures_smaller_and_larger_than_the_network_sees(width: int, height: int) -> None:
    answer = np.full((128, 128), 0.01, np.float32)
    answer[32:64, 40:80] = 0.995
    answer.flags.writeable = False
    matte = _leave(answer, width, height, 0)
    assert matte.shape == (height, width) and matte.dtype == np.float32
    assert matte.min() == 0 and matte.max() == 1
