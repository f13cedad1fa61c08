"""The colours of a subject without what its old background gave to its edges."""

import numpy as np

from diptych.images import Mask, Pixels
from services.editor.cutting.content import looks_drawn
from services.editor.cutting.plain_ground import inner_colors
from services.editor.pixels.edges import decontaminate


def subject_colors(image: Pixels, matte: Mask) -> Pixels:
    """(H, W, 3) of (H, W, 3|4): a drawing on one colour keeps to its inside, elsewhere foregrounds are estimated."""
    colors = np.ascontiguousarray(image[..., :3])
    inside = inner_colors(colors, matte, drawn=True) if looks_drawn(image) else None
    return decontaminate(colors, matte) if inside is None else inside
