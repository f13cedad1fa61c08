# ruff: noqa: RUF001 - the marks of other scripts are meant
"""Numbers, sizes, factors and directions in words: English first, then German, French, Spanish, Chinese."""

import re

_NUMBERS = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
    "twelve": 12, "a dozen": 12, "a couple of": 2, "a few": 3, "several": 3, "half a dozen": 6,
    "zwei": 2, "drei": 3, "vier": 4, "fünf": 5, "sechs": 6, "acht": 8, "zehn": 10,
    "deux": 2, "trois": 3, "quatre": 4, "cinq": 5, "huit": 8, "dix": 10,
    "dos": 2, "tres": 3, "cuatro": 4, "cinco": 5, "seis": 6, "ocho": 8, "diez": 10,
    "一": 1, "两": 2, "二": 2, "三": 3, "四": 4, "五": 5, "六": 6, "八": 8, "十": 10,
}  # fmt: skip
_LATIN = "|".join(sorted((n for n in _NUMBERS if n.isascii() or "ü" in n), key=len, reverse=True))
_NUMBER = r"(?:(?<!\d)\d{1,5}(?:[.,]\d{1,2})?|\b(?:" + _LATIN + r")\b|[一两二三四五六八十])"
_FACTOR = re.compile(
    f"({_NUMBER})"
    + r"\s*(?:x\b|×|-?times|-?fold|\s*mal\b|fach|fois|veces|倍)|\b(?:x|×)\s*(\d{1,4}(?:\.\d{1,2})?)\b"
    + f"|(?:factor of|um den faktor|facteur) ({_NUMBER})"
    + r"|(?<!\d)(\d{3,4})\s*(?:%|percent|prozent)",
    re.IGNORECASE,
)
_FACTOR_WORDS = (
    (2.0, r"\btwice\b|\bdoubl(?:e|ing)\b|\bdoppelt|\bverdopp|\bdouble|\bdupli|\bel doble|\bal doble|放大一倍"),
    (3.0, r"\btripl|\bthreefold|\bverdreifach|\btreble"),
    (4.0, r"\bquadrupl|\bfourfold|\bviermal|\bvierfach|\bcuadrupl"),
    (8.0, r"\beightfold"),
)
_SIZE = re.compile(
    r"(?<![\d.])(\d{2,5})\s*(?:px|pixels?)?\s*(?:x|×|\*|by|mal|par|por)\s*(\d{2,5})(?![\d.])", re.IGNORECASE
)
_WIDE = re.compile(
    r"(?:width|wide|breite?|largeur|ancho)\D{0,12}?(\d{2,5})|(\d{2,5})\s*(?:px|pixels?)?\s*(?:wide|"
    r"in width|breit|across)",
    re.IGNORECASE,
)
_TALL = re.compile(
    r"(?:height|high|tall|höhe|hauteur|alto)\D{0,12}?(\d{2,5})|(\d{2,5})\s*(?:px|"
    r"pixels?)?\s*(?:tall|high|in height|hoch)",
    re.IGNORECASE,
)
_PIXELS = re.compile(r"(\d{2,5})\s*(?:px|pixels?)\b", re.IGNORECASE)
_ASPECT = re.compile(r"(?<![\d:])(\d{1,2}(?:\.\d+)?)\s?[:/]\s?(\d{1,2}(?:\.\d+)?)(?![\d:])")
_SQUARE = re.compile(r"\bsquare|quadrat|\bcarré|\bcuadrado|正方形|方形", re.IGNORECASE)
_NAMED_WIDTH = (
    (7680, r"\b8k\b"),
    (3840, r"\b4k\b|\buhd\b"),
    (2560, r"\b2k\b|\bqhd\b"),
    (1920, r"\bfull ?hd\b|\b1080p\b"),
)
_PERCENT = re.compile(r"(\d{1,3})\s*(?:%|percent|prozent|pour cent)", re.IGNORECASE)
_HALF = re.compile(r"\bhalf\b|\bhalve|halbe|moitié|mitad|一半", re.IGNORECASE)
_THIRD = re.compile(r"\ba third\b|ein drittel|un tiers", re.IGNORECASE)
_QUARTER = re.compile(r"\ba quarter\b|\bquarter (?:the )?size", re.IGNORECASE)
_DEGREES = re.compile(r"(\d{1,3}(?:\.\d+)?)\s*(?:°|degrees?|deg\b|grad\b|degrés?|grados?|度)", re.IGNORECASE)
_BARE_ANGLE = re.compile(r"(?<![\dx:])(90|180|270|45)(?![\dx:%])")
_SECONDS = re.compile(rf"({_NUMBER})\s*-?\s*(?:seconds?|secs?|s\b|sekunden|secondes?|segundos?|秒)", re.IGNORECASE)
_COUNT = re.compile(
    rf"({_NUMBER})\s+(?:\w+\s+){{0,2}}?(?:variations?|variants?|versions?|alternatives?|options?|takes?|ideas?|images?|"
    rf"pictures?|photos?|icons?|logos?|ones|designs?|varianten|variationen|versionen|bilder|variantes?|versiones)"
    rf"|({_NUMBER})\s*(?:个|张|种)(?:版本|变体|类似|不同)?",
    re.IGNORECASE,
)


def value_of(text: str) -> float:
    """The number that a numeral or number word says."""
    known = _NUMBERS.get(text.lower())
    return float(known) if known is not None else float(text.replace(",", "."))


def factor(text: str) -> float | None:
    """The factor of an enlargement: "4x", "four times", "twice", "300%", "doppelt so groß", "四倍"."""
    if match := _FACTOR.search(text):
        if match[4]:
            return float(match[4]) / 100
        said = value_of(match[1] or match[2] or match[3])
        return said if 1 < said <= 64 else None
    for value, pattern in _FACTOR_WORDS:
        if re.search(pattern, text, re.IGNORECASE):
            return value
    return None


def size(text: str) -> tuple[int, int] | None:
    """Width and height in pixels: "1024x768", "800 by 600 px"."""
    match = _SIZE.search(text)
    return (int(match[1]), int(match[2])) if match else None


def sides(text: str) -> dict[str, int]:
    """`width` and `height` in pixels, those that are said."""
    if both := size(text):
        return {"width": both[0], "height": both[1]}
    found: dict[str, int] = {}
    for name, pattern in (("width", _WIDE), ("height", _TALL)):
        if match := pattern.search(text):
            found[name] = int(match[1] or match[2])
    if not found:
        for pixels, name_of_width in _NAMED_WIDTH:
            if re.search(name_of_width, text, re.IGNORECASE):
                return {"width": pixels}
        if match := _PIXELS.search(text):
            found["width"] = int(match[1])
    return found


def aspect(text: str) -> str | None:
    """The aspect ratio as "16:9"; "square" is "1:1"."""
    if match := _ASPECT.search(text):
        return f"{match[1]}:{match[2]}"
    return "1:1" if _SQUARE.search(text) else None


def percent(text: str) -> float | None:
    """The percentage of the size: "50%", "half the size"."""
    if match := _PERCENT.search(text):
        return float(match[1])
    for value, pattern in ((50.0, _HALF), (33.3, _THIRD), (25.0, _QUARTER)):
        if pattern.search(text):
            return value
    return None


def angle(text: str) -> float | None:
    """The unsigned angle in degrees: "90 degrees", "a quarter turn", "upside down"."""
    if match := _DEGREES.search(text):
        return float(match[1])
    if re.search(r"quarter|viertel|un quart|cuarto", text, re.IGNORECASE):
        return 90.0
    if re.search(r"half turn|upside|auf dem kopf|other way round|turn (?:it |this )?around", text, re.IGNORECASE):
        return 180.0
    match = _BARE_ANGLE.search(text)
    return float(match[1]) if match else None


def seconds(text: str) -> float | None:
    """The duration in seconds: "5 seconds", "4s", "ten seconds"."""
    match = _SECONDS.search(text)
    return value_of(match[1]) if match else None


def count(text: str) -> int | None:
    """How many are wanted: "three variations", "4 versions", "三个版本"."""
    match = _COUNT.search(text)
    if match is None:
        return None
    said = value_of(match[1] or match[2])
    return int(said) if said == int(said) and 1 <= said <= 64 else None
