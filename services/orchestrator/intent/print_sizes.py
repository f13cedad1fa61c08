# ruff: noqa: RUF001 - the marks of other scripts are meant
"""Sizes on paper and dots per inch: "10x15 cm at 300 dpi", "auf A4 mit 300 dpi", "4x6 inches", "打印用300dpi"."""

import re
from dataclasses import dataclass

_DOTS = (
    r"(?:dpi|ppi|ppp|dots per inch|pixels per inch|punkte pro zoll|points par pouce|puntos por pulgada)(?![a-z])"
    r"(?:\s*(?:resolution|auflösung|de résolution|de resolución))?"
)
_DPI = re.compile(
    r"[,;]?\s*(?:(?<!\w)(?:at|in|with|as|to|of|for printing at|for print at|mit|bei|auf|à|en|avec|a|con|de)\s+)?"
    rf"(?<![\w.,])(?:(?P<dpi>\d{{2,4}})\s?-?{_DOTS}|{_DOTS}\s*(?:to|of|auf|à|a|[:=])?\s*(?P<dpi_>\d{{2,4}})(?!\w))",
    re.IGNORECASE,
)
_NUMBER = r"(\d{1,3}(?:[.,]\d{1,2})?)"
_UNIT = (
    r"(mm|cm|zentimeter|millimeter|centim[eè]tres?|centimeters?|cent[ií]metros?|in(?:ch(?:es)?)?\b|zoll|pouces?|"
    r"pulgadas?|\"|″|厘米|毫米|英寸)"
)
_LED = r"(?:(?<!\w)(?:to|at|as|for|in|of|an?|auf|als|für|in|à|en|au format|format|pour|a|al|como|para|tamaño)\s+){0,3}"
_SIDES = re.compile(
    rf"{_LED}(?<![\w.,]){_NUMBER}\s?{_UNIT.replace('(', '(?:', 1)}?\s?(?:x|×|\*|by|mal|par|por)\s?{_NUMBER}\s?-?{_UNIT}"
    r"(?:\s(?:prints?|photos?|paper)\b)?(?![a-z])",
    re.IGNORECASE,
)
_SHEET = re.compile(
    rf"{_LED}(?<![\w-])(?:DIN[ -]?)?(A[2-7])(?![\w-])(?:\s?(?:size|paper|sheet|format|print)\b)?", re.IGNORECASE
)
_SHEETS = {  # ISO 216, mm
    "a2": (420, 594), "a3": (297, 420), "a4": (210, 297), "a5": (148, 210), "a6": (105, 148), "a7": (74, 105),
}  # fmt: skip
_UPRIGHT = re.compile(r"\b(?:portrait|vertical|hochformat|upright)\b|竖", re.IGNORECASE)
_LYING = re.compile(r"\b(?:landscape|horizontal|querformat|paysage|apaisado)\b|横", re.IGNORECASE)
_JOINT = re.compile(r"[,;.!?，。；](?!\d)|\b(?:and|then|und|dann|et|puis|y|luego)\b", re.IGNORECASE)
_LEAD = re.compile(r"(?:\b(?:and|then|und|dann|et|puis|y|luego)\s*)+$", re.IGNORECASE)
_INCH, _PRINTED = 25.4, 300


_ALONE = re.compile(
    r"(?:[\W\d_]|\b(?:set|save|export|make|change|resize|scale|crop|size|print|printing|prints?|prepare|ready|it|"
    r"this|that|the|my|a|an|"
    r"picture|image|photo|file|resolution|dpi|for|to|at|in|and|on|as|of|paper|please|portrait|landscape|vertical|"
    r"horizontal|i|need|want|"
    r"setze?|stelle?|speicher[en]?|mache?|bringe?|es|das|die|den|bild|foto|datei|auflösung|zum|für|auf|als|druck|"
    r"drucken|ausdrucken|"
    r"hochformat|querformat|bitte|größe|mets|règle|enregistre|l|la|le|les|résolution|pour|impression|imprimer|en|"
    r"taille|recadre|redimensionne|paysage|pon|ajusta|guarda|guárdal[oa]|resolución|para|imprimir|impresión|el|lo|"
    r"foto|imagen|tamaño|"
    r"recorta|png|jpe?g|webp|avif|tiff?)\b|打印|用|设置?|分辨率|为|成|图片|照片|保存|裁剪?|把|将|请|横|竖)*",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Print:
    """Dots per inch, and where a size on paper is named its `words`, and width and height in pixels.

    `either_way`: for a picture that lies the other way they change places.
    """

    dpi: int
    size: tuple[int, int] | None = None
    either_way: bool = False
    words: str = ""


def printed(goal: str) -> tuple[str, Print | None]:
    """The goal with its size on paper and dots per inch blanked, and what they say; a size without dots has 300.

    Dots alone are blanked where the goal says nothing else: "bring it up to 300 dpi" asks for more pixels as well.
    """
    said, sides = _DPI.search(goal), _SIDES.search(goal)
    sheet = _SHEET.search(goal) if sides is None and said is not None else None
    dpi = int(said["dpi"] or said["dpi_"]) if said is not None else _PRINTED
    left = goal
    for part in (said, sides, sheet):
        if part is not None:
            left = left[: part.start()] + " " * (part.end() - part.start()) + left[part.end() :]
    if sides is not None:
        each = _millimetres(sides[3])
        paper = [float(one.replace(",", ".")) * each for one in (sides[1], sides[2])]
    elif sheet is not None:
        paper = [float(one) for one in _SHEETS[sheet[1].lower()]]
    elif said is None:
        return goal, None
    else:
        return _without_part(goal, said.start(), said.end()), Print(dpi)
    short, long = sorted(max(1, round(side * dpi / _INCH)) for side in paper)
    words = sheet[1] if sheet is not None else goal[sides.start(1) : sides.end(3)] if sides is not None else ""
    if _LYING.search(goal):
        return left, Print(dpi, (long, short), words=words)
    return left, Print(dpi, (short, long), not _UPRIGHT.search(goal), words)


def _without_part(goal: str, start: int, end: int) -> str:
    """The goal without the part around a place, where that part says nothing else; else all of it."""
    first = max((joint.end() for joint in _JOINT.finditer(goal, 0, start + 1) if joint.end() <= start), default=0)
    after = _JOINT.search(goal, end)
    last = after.start() if after is not None else len(goal)
    if not is_all(goal[first:start] + goal[end:last]):
        return goal
    lead = _LEAD.search(goal[:first])
    first = lead.start() if lead is not None else first
    return goal[:first] + " " * (last - first) + goal[last:]


def is_all(left: str) -> bool:
    """Whether what is left of a goal asks for nothing but a print."""
    return _ALONE.fullmatch(left) is not None


def _millimetres(unit: str) -> float:
    unit = unit.lower()
    if unit in ("mm", "毫米") or unit.startswith("milli"):
        return 1.0
    return 10.0 if unit == "厘米" or unit.startswith(("c", "zent")) else _INCH
