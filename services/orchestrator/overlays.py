"""A logo or watermark that a goal wants on a picture: which picture it is, in which corner, how large, how strong."""

import re
from collections.abc import Mapping

from services.orchestrator.shares import PERCENT
from services.orchestrator.wanted import Value

_MARK = re.compile(
    r"\b(?:logos?|watermarks?|badge|emblem|signature|wasserzeichen|filigrane|logotipo|marca de agua)\b|水印|标志",
    re.IGNORECASE,
)
# What is somebody's own exists already: nothing is drawn for it.
_OWN = re.compile(
    r"\b(?:the|our|my|its|this|company|brand|unser\w*|mein\w*|das|dem|notre|mon|le|nuestr[oa]|mi|el|la)\s+(?:\w+\s+)?"
    r"(?:logos?|watermarks?|badge|emblem|signature|wasserzeichen|filigrane|logotipo|marca de agua)\b",
    re.IGNORECASE,
)
_TOP, _BOTTOM = r"(?:top|upper|oben|haut|arriba|superior)", r"(?:bottom|lower|unten|bas|abajo|inferior)"
_LEFT, _RIGHT = r"(?:left|links|gauche|izquierda)", r"(?:right|rechts|droite|droit|derecha)"
_CORNERS = {
    f"{across}_{along}": re.compile(rf"\b{a}\b[-\s]*(?:(?:à|a la)\s+)?\b{b}|\b{b}\b[-\s]*\b{a}", re.IGNORECASE)
    for across, a in (("top", _TOP), ("bottom", _BOTTOM))
    for along, b in (("left", _LEFT), ("right", _RIGHT))
}
_MIDDLE = re.compile(r"\b(?:cent(?:er|re)(?:ed)?|middle|mitte|centre|centro)\b", re.IGNORECASE)
_WIDTH = re.compile(
    rf"{PERCENT}\s*(?:of\s+(?:the|its)\s+)?(?:width|wide|size|(?:of\s+the\s+)?(?:picture|image|photo)|breite|largeur|ancho)",
    re.IGNORECASE,
)
_OPACITY = re.compile(
    rf"{PERCENT}\s*(opacity|opaque|transparen\w+|deckkraft)|(opacity|transparency)\s*(?:of|at|to|:)?\s*{PERCENT}",
    re.IGNORECASE,
)
_FAINT = re.compile(
    r"\b(?:semi-?transparent|translucent|faint|subtle|half-?transparent|halbtransparent)\b", re.IGNORECASE
)
_SMALL = re.compile(r"\b(?:small|tiny|little|klein\w*|petit\w*|pequeñ\w*)\b", re.IGNORECASE)
_USUAL_WIDTH, _SMALL_WIDTH, _THING_WIDTH = 0.2, 0.12, 0.3


def is_own_mark(text: str) -> bool:
    """Whether the words speak of a logo or watermark that exists: "our logo", "the watermark"."""
    return _OWN.search(text) is not None


def laid(text: str) -> Mapping[str, Value]:
    """`anchor`, `relative_width` and `opacity` of what is laid over, those that are said; a mark has a usual place."""
    found: dict[str, Value] = {}
    corner = next((name for name, words in _CORNERS.items() if words.search(text)), "")
    if corner or _MIDDLE.search(text) or _MARK.search(text):
        found["anchor"] = corner or ("center" if _MIDDLE.search(text) else "bottom_right")
    if said := _WIDTH.search(text):
        found["relative_width"] = min(1.0, max(0.01, float(said[1].replace(",", ".")) / 100))
    elif _MARK.search(text) or found:
        usual = _USUAL_WIDTH if _MARK.search(text) else _THING_WIDTH
        found["relative_width"] = _SMALL_WIDTH if _SMALL.search(text) else usual
    if said := _OPACITY.search(text):
        share = min(1.0, float((said[1] or said[4]).replace(",", ".")) / 100)
        clear = "transparen" in (said[2] or said[3]).lower()
        found["opacity"] = round(1 - share if clear else share, 4)
    elif _FAINT.search(text):
        found["opacity"] = 0.5
    return found
