"""A logo or watermark that a goal wants on a picture: which picture it is, in which corner, how large, how strong."""

import re
from collections.abc import Mapping

from services.orchestrator.planning.colors import color_of
from services.orchestrator.planning.shares import PERCENT
from services.orchestrator.planning.wanted import Value

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
_TOP, _BOTTOM = (
    r"(?:top|upper|above|oben|haut|arriba|superior)",
    r"(?:bottom|lower|below|beneath|underneath|unten|bas|abajo|inferior)",
)
_LEFT, _RIGHT = r"(?:left|links|gauche|izquierda)", r"(?:right|rechts|droite|droit|derecha)"
_CORNERS = {
    f"{across}_{along}": re.compile(rf"\b{a}\b[-\s]*(?:(?:à|a la)\s+)?\b{b}|\b{b}\b[-\s]*\b{a}", re.IGNORECASE)
    for across, a in (("top", _TOP), ("bottom", _BOTTOM))
    for along, b in (("left", _LEFT), ("right", _RIGHT))
}
_EDGES = {
    "top": re.compile(rf"\b(?:{_TOP})\b", re.IGNORECASE),
    "bottom": re.compile(rf"\b(?:{_BOTTOM})\b", re.IGNORECASE),
    "left": re.compile(rf"\b{_LEFT}\b", re.IGNORECASE),
    "right": re.compile(rf"\b{_RIGHT}\b", re.IGNORECASE),
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
_BIG = re.compile(r"\b(?:big|large|huge|bold|groß\w*|grand\w*)\b", re.IGNORECASE)
_COLOR_WORDS = r"(#[0-9a-f]{6}|#[0-9a-f]{3}|(?:(?:dark|light|bright|deep|pale)\s)?[a-zäöüß]+)"
_IN_COLOR = re.compile(
    rf"\b(?:in|as|en)\s+(?:big |large |small |bold )*{_COLOR_WORDS}|{_COLOR_WORDS}\s+(?:letters|text|type)\b",
    re.IGNORECASE,
)
_ON_A_BOX = re.compile(rf"\bon (?:a |an )?{_COLOR_WORDS}\s+(?:box|banner|bar|background|label|ribbon)\b", re.IGNORECASE)
_WHERE = r"(?=\s+(?:on|onto|in|into|at|across|over|below|above|under|to|with|as)\b|[,.;]|$)"
_WRITE = re.compile(rf"\bwrite\s+(?!the\b|a\b|some\b|something\b|down\b)(.{{2,80}}?){_WHERE}", re.IGNORECASE)
_NAMED_WORDS = re.compile(
    r"(?i:\b(?:headline|caption|title|tagline|text|words?|lettering)\s+(?:saying\s+|that says\s+|reading\s+)?)"
    rf"([A-Z0-9].{{1,80}}?){_WHERE}"
)
_LEADS_TO_WORDS = re.compile(
    r"(?:[,;]|\b(?:and|with|und|mit|et|avec|y|con))\s*(?:(?:then|please|write|add|put|say\w*|the|a|an|words?|text|caption|"
    r"headline|title|letters|schreibe?|das|den|texte?|le|écris|ajoute|escribe|el|texto)\s*)*[:]?\s*$",
    re.IGNORECASE,
)
_SMALL_LETTERS, _BIG_LETTERS = 0.06, 0.2
_USUAL_WIDTH, _SMALL_WIDTH, _THING_WIDTH = 0.2, 0.12, 0.3


def place_said(text: str) -> str:
    """The anchor that the words name: a corner, the middle, or an edge; empty when they name none."""
    for places in (_CORNERS, {"center": _MIDDLE}, _EDGES):
        for name, words in places.items():
            if words.search(text):
                return name
    return ""


def lettered(text: str, words: str) -> Mapping[str, Value]:
    """`anchor`, `color`, `background`, `size` and `opacity` of words to write, those that are said beside them."""
    said = text.replace(words, " ")
    found: dict[str, Value] = {}
    if place := place_said(said):
        found["anchor"] = place
    if (ground := _ON_A_BOX.search(said)) and (color := color_of(ground[1])) is not None:
        found["background"] = color
        said = said.replace(ground[0], " ")
    if (
        color := next((c for pair in _IN_COLOR.findall(said) for one in pair if (c := color_of(one)) is not None), None)
    ) is not None:
        found["color"] = color
    if _SMALL.search(said) or _BIG.search(said):
        found["size"] = _SMALL_LETTERS if _SMALL.search(said) else _BIG_LETTERS
    if _FAINT.search(said):
        found["opacity"] = 0.5
    return found


def unquoted(text: str) -> str:
    """The words that a goal without quotation marks wants written: "write Happy Birthday on it"; empty if none."""
    found = _WRITE.search(text) or _NAMED_WORDS.search(text)
    return found[1].strip(" .,:") if found else ""


def without_words(prompt: str, words: str) -> str:
    """What is to be drawn without the part that says what is written on it."""
    at = prompt.find(words)
    return (
        _LEADS_TO_WORDS.sub("", prompt[:at].rstrip(" \"'\u201c\u201e\u00ab")).strip(" ,") or prompt
        if at > 0
        else prompt
    )


def is_own_mark(text: str) -> bool:
    """Whether the words speak of a logo or watermark that exists: "our logo", "the watermark"."""
    return _OWN.search(text) is not None


def laid(text: str) -> Mapping[str, Value]:
    """`anchor`, `relative_width` and `opacity` of what is laid over, those that are said; a mark has a usual place."""
    found: dict[str, Value] = {}
    corner = next((name for name, words in _CORNERS.items() if words.search(text)), "")
    if _MARK.search(text):
        found["anchor"] = place_said(text) or "bottom_right"
    elif corner or _MIDDLE.search(text):
        found["anchor"] = corner or "center"
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
