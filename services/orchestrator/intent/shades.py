"""Colour by degree: "more blue" and "less green" move the colours that way; "blue" alone is a new colour. Pure."""

import re

# What a picture's colours are moved by: temperature (cool to warm), tint (green to magenta).
_HUES = (
    ("blue", r"blue|blau\w*|bleue?s?|azul(?:es)?|蓝色?", (-0.3, 0.0)),
    ("red", r"red|rot\w*|rouges?|roj[oa]s?|红色?", (0.3, 0.3)),
    ("green", r"green|grün\w*|verte?s?|verdes?|绿色?", (0.0, -0.3)),
    ("yellow", r"yellow|gold(?:en)?|gelb\w*|jaunes?|dor[ée]e?s?|amarill[oa]s?|dorad[oa]s?|黄色?|金色?", (0.3, -0.1)),
    ("orange", r"orange\w*|naranjas?|橙色?", (0.35, 0.0)),
    ("pink", r"pink|rosa|roses?|粉色?", (0.1, 0.3)),
    ("purple", r"purple|violet\w*|magenta|lila|violette?s?|morad[oa]s?|紫色?", (-0.15, 0.3)),
    ("teal", r"teal|turquoise|cyan|türkis\w*|turquesa|青色?", (-0.3, -0.2)),
)
# English and German have a word for the degree itself.
_DEGREES = (
    ("blue", r"bluer|blauer|bläulicher"), ("red", r"redder|röter|rötlicher"), ("green", r"greener|grüner|grünlicher"),
    ("yellow", r"yellower|more golden|gelber|goldener"), ("pink", r"pinker|rosiger"), ("purple", r"more purplish"),
)  # fmt: skip
_MORE = r"(?:more(?: of(?: an?)?)?|mehr|plus(?: de)?|más|更|再)"
_LESS = r"(?:less|not so|not as|weniger|moins(?: de)?|menos|别那么|不那么)"
_BESIDE = r"\s*(?:intensely |intense |deeply |of an? |ins |in the |en )?"
_STEP = r"(?:一点|一些|点|些)"
_RICHER = 0.2  # saturation that goes with a colour that is wanted more


def shift(text: str) -> dict[str, float]:
    """`temperature`, `tint` and `saturation` for colours wanted more or less, of the usual amount; empty if none is."""
    for name, words, (temperature, tint) in _HUES:
        degrees = "|".join(pattern for hue, pattern in _DEGREES if hue == name) or r"(?!)"
        if re.search(rf"\b{_LESS}{_BESIDE}(?:{words})\b|{_LESS}(?:{words})", text, re.IGNORECASE):
            return _present(-temperature, -tint, 0.0)
        more = rf"\b{_MORE}{_BESIDE}(?:{words})\b|\b(?:{degrees})\b|[更再](?:{words})|(?:{words})(?:{_STEP})"
        if re.search(more, text, re.IGNORECASE):
            return _present(temperature, tint, _RICHER)
    return {}


def _present(temperature: float, tint: float, saturation: float) -> dict[str, float]:
    found = {"temperature": temperature, "tint": tint, "saturation": saturation}
    return {name: round(value, 3) for name, value in found.items() if value}
