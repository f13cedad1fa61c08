"""Whether a picture is safe to show, as a classifier scores it."""

import cv2
import numpy as np

from diptych.images import Pixels
from services.editor.context import EditContext
from services.editor.seeing.framing import planes, shrunk

CLASSIFIER = "nsfw-mobilenet"
UNSAFE = "unsafe"


async def safety_scores(pixels: Pixels, context: EditContext) -> dict[str, float]:
    """Scores 0 to 1 by class; `unsafe` is the sum of the classes that the model's manifest lists as such."""
    model = await context.model(CLASSIFIER)
    defaults = model.manifest.defaults
    side = (model.fixed_size or (224, 224))[0]
    square = await context.compute(_enter, pixels, side)
    answer = await model.run(planes(square, defaults), context.deadline)
    scores = {str(name): float(score) for name, score in zip(defaults["classes"], answer, strict=True)}
    return scores | {UNSAFE: sum(scores[name] for name in defaults["unsafe"])}


def _enter(pixels: Pixels, side: int) -> Pixels:
    """The whole picture as a square; the classifier was trained on pictures squeezed this way."""
    small = shrunk(pixels, 2 * side)
    return np.asarray(cv2.resize(small, (side, side), interpolation=cv2.INTER_AREA))
