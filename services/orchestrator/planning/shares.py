"""Percentages that a goal names: how much smaller, how much brighter, how good a file."""

import re
from collections.abc import Mapping

_NUMBER = r"(\d{1,3}(?:[.,]\d+)?)"
PERCENT = rf"{_NUMBER}\s?(?:%|percent\b|per cent\b|prozent\b|pour ?cent\b|por ?ciento\b)"
_SMALLER = re.compile(
    rf"{PERCENT}\s+(?:smaller|kleiner|plus petit\w*|más pequeñ\w*)|"
    rf"\b(?:shrink|reduce|decrease|downsize|downscale|scale\w*(?: \w+)? down|verkleiner\w*|rédui\w*|reduc\w*)\b[^,.;]*?"
    rf"\b(?:by|um|de|en)\s+{PERCENT}",
    re.IGNORECASE,
)
_LARGER = re.compile(
    rf"{PERCENT}\s+(?:larger|bigger|größer|plus grand\w*|más grande)|"
    rf"\b(?:enlarge|increase|grow|upscale|scale\w*(?: \w+)? up|vergrößer\w*|agrandi\w*|ampl[ií]a\w*)\b[^,.;]*?"
    rf"\b(?:by|um|de|en)\s+{PERCENT}",
    re.IGNORECASE,
)
_TIMES_SMALLER = re.compile(
    r"\b(?:(twice)|(\d+(?:\.\d+)?|two|three|four)\s*(?:x|times|-?fold))\s+(?:as small|smaller)\b", re.IGNORECASE
)
_TIMES = {"two": 2.0, "three": 3.0, "four": 4.0}
_SCALES = {
    "brightness": r"bright\w*|light(?:er|ness)|dark\w*|exposure|hell\w*|dunk\w*|luminos\w+|brillo",
    "contrast": r"contrast\w*|kontrast\w*",
    "saturation": r"(?:de)?saturat\w*|vivid|vibran\w+|colou?rful|sättigung",
    "temperature": r"warm\w*|cool\w*|colder",
}
_DOWN = (
    r"less|lower|decreas\w*|reduc\w*|down|dark\w*|cool\w*|colder|desaturat\w*|drop\w*|weniger|verringer\w*|dunk\w*|"
    r"moins|baiss\w*|menos"
)
_UP = (
    r"more|higher|increas\w*|rais\w+|boost\w*|up|add|bright\w*|lighter|warm\w*|lift\w*|mehr|erhöh\w*|plus|augment\w*|"
    r"más|aument\w*"
)
_WAYS = re.compile(rf"\b(?:(?P<down>{_DOWN})|(?:{_UP}))\b", re.IGNORECASE)
_QUALITY = re.compile(
    r"\b(?:quality|qualität|qualité|calidad)\s*(?:of|at|level|von|de|[:=])?\s*(\d{1,3})\b|"
    r"\b(\d{1,3})\s?%?\s+(?:jpe?g |webp |avif )?(?:quality|qualität)\b",
    re.IGNORECASE,
)


def of_size(text: str) -> float | None:
    """The factor of a size that is told by its change: "30% smaller" is 0.7, "50% larger" 1.5, "twice as small" 0.5."""
    if found := _SMALLER.search(text):
        share = _share(found)
        return 1 - share if 0 < share < 1 else None
    if found := _LARGER.search(text):
        return 1 + _share(found)
    if found := _TIMES_SMALLER.search(text):
        times = 2.0 if found[1] else _TIMES.get(found[2].lower()) or float(found[2])
        return 1 / times if times > 1 else None
    return None


def of_tones(text: str) -> Mapping[str, float]:
    """`brightness`, `contrast`, `saturation` and `temperature` in -1..1, those that are told by a percentage."""
    found: dict[str, float] = {}
    for name, words in _SCALES.items():
        said = re.search(
            rf"{PERCENT}\s+(?:(?:more|less|higher|lower|mehr|weniger)\s+)?(?:{words})\b|"
            rf"\b(?:{words})\s+(?:(?:it|this|that|them|es|up|down)\s+)?(?:(?:by|um|de)\s+)?[+-]?{PERCENT}",
            text,
            re.IGNORECASE,
        )
        if said is None:
            continue
        # "Increase saturation by 20% and contrast by 10%": the last word that tells the way holds for both.
        ways = [way.lastgroup for way in _WAYS.finditer(text, 0, said.end())]
        down = bool(ways) and ways[-1] == "down"
        found[name] = round(min(1.0, _share(said)) * (-1 if down else 1), 4)
    return found


def of_quality(text: str) -> int | None:
    """The quality of a file, 1 to 100: "at quality 75", "80% quality"."""
    said = _QUALITY.search(text)
    value = int(said[1] or said[2]) if said else 0
    return value if 1 <= value <= 100 else None


def _share(match: re.Match[str]) -> float:
    return float(next(group for group in match.groups() if group).replace(",", ".")) / 100
