"""What upscaling does around the network."""

import numpy as np

from services.editor.operations.upscale import _join


def test_ringing_draws_no_outline_where_nothing_was() -> None:
    alpha = np.zeros((16, 16), np.uint8)
    alpha[4:12, 4:12] = 255
    rung = np.kron(alpha, np.ones((4, 4), np.uint8))
    rung[2:4, :] = 40  # a faint line, two cells away from the shape
    rung[30, 30] = 180  # and a hole inside it
    joined = _join(np.zeros((64, 64, 3), np.uint8), np.repeat(rung[..., None], 3, axis=2), alpha)
    assert joined.shape == (64, 64, 4)
    assert joined[:8, :, 3].max() == 0
    assert joined[24:40, 24:40, 3].min() == 255
    assert 0 < joined[16, 32, 3] <= 255
