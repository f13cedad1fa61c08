# ruff: noqa: RUF001 - the marks of other scripts are meant
"""Colour adjustments in words: "a bit warmer", "less saturation", "black and white"."""

import re

_MORE = (
    r"more|increas\w*|rais\w+|boost\w*|add\w*|lift\w*|higher|up|bump\w*|stronger|creat\w+|give|"
    r"pump\w*|mehr|erhöh\w*|plus de|"
    r"augment\w*|más|aument\w*|sub\w{1,2}"
)
_LESS = (
    r"less|reduc\w*|lower\w*|decreas\w*|drop\w*|tone\w* down|turn\w* down|too much|cut|"
    r"pull\w* down|dial\w* back|mut\w+|"
    r"weniger|verringer\w*|moins de|baiss\w*|réduis|menos|baja|reduce"
)
_SCALES = {
    "contrast": r"contrast\w*|kontrast|contraste|对比度",
    "saturation": r"saturat\w*|vibran\w+|vivid\w*|colou?rful\w*|sättigung|saturación|饱和度|colou?r intensity",
    "brightness": r"bright(?!en)\w*|exposure|helligkeit|luminosité|brillo|亮度",
    "temperature": r"warm\w*|colou?r temperature|wärm\w*|色温",
}
_DIRECT = (
    ("brightness", -1, r"too (?:bright|light)|overexposed|zu hell|trop claire?|muy clara|太亮"),
    ("brightness", 1, r"too dark|underexposed|zu dunkel|trop sombre|muy oscura|太暗"),
    ("temperature", -1, r"too (?:warm|yellow|orange|red)|zu (?:gelb|warm)|trop jaune|muy amarilla|偏黄"),
    ("temperature", 1, r"too (?:cold|cool|blue)|zu (?:blau|kalt)|trop bleue?|muy azul|偏蓝"),
    ("saturation", -1, r"too (?:saturated|colou?rful|vivid)|oversaturated|less (?:saturat|vivid|colou?rful)\w*"),
    ("saturation", 1, r"washed out|too (?:pale|dull|grey)|faded|dull|pop\b|punch\w*|bunter|鲜艳"),
    (
        "brightness",
        1,
        r"brighte\w+|light(?:en|er)\w*|heller|aufhell\w*|plus claire?|éclairci\w*|más clara|acl[aá]r\w+|"
        r"调亮|提亮|亮一[点些]|变亮",
    ),
    (
        "brightness",
        -1,
        r"dark(?:en|er)\w*|dunkler|abdunk\w*|plus sombre|assombri\w*|más oscura|oscur[eé][cz]\w*|调暗|暗一[点些]|变暗",
    ),
    ("temperature", 1, r"warm(?:er|ing)?\b|wärmer|plus chaude?|réchauff\w*|más cálida|暖"),
    ("temperature", -1, r"cool(?:er|ing)?\b|cold(?:er)?\b|kälter|kühler|plus froide?|refroidi\w*|más fría|冷"),
    ("saturation", -1, r"desaturat\w*|muted|paler"),
    ("contrast", 1, r"contrasty|kontrastreicher|plus contrastée?"),
)
_TONES = (
    ("colorize", r"colou?ri[sz]e|colou?r to (?:this|the)|koloriere|上色|in colou?r\b"),
    ("grayscale", r"black (?:and|&) white|black-and-white|b&w|b/w|monochrom\w*|gr[ae]yscale|schwarz-?weiß|"
     r"noir et blanc|blanco y negro|黑白"),
    ("sepia", r"sepia"),
)  # fmt: skip
# Between words of one thought: in "too dark, brighten it" nothing is too bright.
_GAP = r"[^\w,;.:!?，。；]+"
_BEGINS = r"(?<![A-Za-zÀ-ÿ0-9_])"  # Chinese has no gaps between words
_SLIGHTLY = re.compile(
    r"\b(?:a bit|slightly|a little|a touch|subtl\w+|gently|etwas|leicht|un peu|un poco|a tad)\b|一点", re.IGNORECASE
)
_STRONGLY = re.compile(
    r"\b(?:much|very|strongly|a lot|heavily|way|really|dramatic\w*|viel|stark|beaucoup|mucho|extreme\w*)\b",
    re.IGNORECASE,
)
_USUAL = 0.3


def strength(text: str) -> float | None:
    """How strongly something is wanted (0..1): "slightly" 0.25, "strongly" 0.85; None when nothing is said."""
    if _SLIGHTLY.search(text):
        return 0.25
    return 0.85 if _STRONGLY.search(text) else None


def degree(text: str) -> float:
    """What the usual amount is multiplied by: "slightly" half of it, "much" nearly twice."""
    if _SLIGHTLY.search(text):
        return 0.5
    return 1.7 if _STRONGLY.search(text) else 1.0


def adjustments(text: str) -> dict[str, float | str]:
    """`brightness`, `contrast`, `saturation`, `temperature` in -1..1 and `tone`, those that are said."""
    amount = _USUAL * degree(text)
    found: dict[str, float | str] = {}
    for name, pattern in _TONES:
        if re.search(pattern, text, re.IGNORECASE):
            found["tone"] = name
            break
    if "tone" not in found:
        for name, scale in _SCALES.items():
            for sign, words in ((-1, rf"{_LESS}|too(?={_GAP}(?:{scale}))"), (1, _MORE)):
                said = rf"\b(?:{words})\b(?:{_GAP}\w+){{0,3}}?{_GAP}(?:{scale})"
                if re.search(said, text, re.IGNORECASE):
                    found.setdefault(name, sign * amount)
    for name, sign, pattern in _DIRECT:
        if name not in found and "tone" not in found and re.search(rf"{_BEGINS}(?:{pattern})", text, re.IGNORECASE):
            found[name] = sign * amount
    return found
