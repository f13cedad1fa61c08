"""Colours as people name them, as the contract writes them."""

import re

from PIL import ImageColor

# Words around a colour that do not change it.
_FILLERS = re.compile(
    r"\b(a|an|the|plain|pure|solid|clean|uniform|studio|flat|simple|backdrop|background|colou?r|colou?red|hintergrund|"
    r"fond|fondo|uni|einfarbig)\b|背景|纯|色",
    re.IGNORECASE,
)
_HEX = re.compile(r"#(?:([0-9a-fA-F]{6})|([0-9a-fA-F]{3}))\b")
_GRADIENT = re.compile(r"\b(gradient|fade|(farb)?verlauf|dégradé|degradado|gradiente)\b|渐变", re.IGNORECASE)
# How people say the "light" and "dark" of named colours.
_LIGHT = re.compile(r"\b(?:pale|pastel|soft)(?=[\s-]?\w)", re.IGNORECASE)
_DARK = re.compile(r"\bdeep(?=[\s-]?\w)", re.IGNORECASE)
_WORD = re.compile(r"#?[^\W_]+")
_MORE = {
    "blonde": "#e6c88b",
    "blond": "#e6c88b",
    "platinumblonde": "#efe6cf",
    "brunette": "#5a3825",
    "darkslate": "#2f4f4f",
    "slate": "#708090",
    "cream": "#fffdd0",
    "charcoal": "#36454f",
    "mint": "#98ff98",
    "rosegold": "#b76e79",
    "mustard": "#e1ad01",
    "burgundy": "#800020",
    # German, French, Spanish, Chinese
    "weiß": "#ffffff",
    "weiss": "#ffffff",
    "schwarz": "#000000",
    "rot": "#ff0000",
    "blau": "#0000ff",
    "grün": "#008000",
    "gelb": "#ffff00",
    "grau": "#808080",
    "lila": "#800080",
    "rosa": "#ffc0cb",
    "braun": "#a52a2a",
    "blanc": "#ffffff",
    "noir": "#000000",
    "rouge": "#ff0000",
    "bleu": "#0000ff",
    "vert": "#008000",
    "jaune": "#ffff00",
    "gris": "#808080",
    "blanco": "#ffffff",
    "negro": "#000000",
    "rojo": "#ff0000",
    "azul": "#0000ff",
    "verde": "#008000",
    "amarillo": "#ffff00",
    "白": "#ffffff",
    "黑": "#000000",
    "红": "#ff0000",
    "蓝": "#0000ff",
    "绿": "#008000",
    "黄": "#ffff00",
    "灰": "#808080",
}


def color_of(words: str) -> str | None:
    """The colour "#rrggbb" when the words name one and nothing else, such as "plain white"; None otherwise."""
    if match := _HEX.search(words):
        digits = match[1] or "".join(2 * digit for digit in match[2])
        return f"#{digits.lower()}"
    bare = _FILLERS.sub(" ", words)
    return _named(bare) or _named(_LIGHT.sub("light", _DARK.sub("dark", bare)))


def color_in(words: str) -> str | None:
    """The colour that the words name, or the last one among them, such as orange in "burnt orange"."""
    whole = color_of(words)
    if whole is not None:
        return whole
    return next((found for word in reversed(words.split()) if (found := _named(word)) is not None), None)


def gradient_of(words: str) -> tuple[str, str] | None:
    """The two colours "#rrggbb" of words such as "a gradient from blue to pink"; None if they name no such thing."""
    if not _GRADIENT.search(words):
        return None
    named = [found for word in _WORD.findall(words) if (found := color_of(word)) is not None]
    return (named[0], named[-1]) if len(named) > 1 else None


def _named(words: str) -> str | None:
    key = re.sub(r"[\s_-]+", "", words).lower()
    if key in _MORE:
        return _MORE[key]
    if key not in ImageColor.colormap:
        return None
    red, green, blue, *_ = ImageColor.getrgb(key)
    return f"#{red:02x}{green:02x}{blue:02x}"
