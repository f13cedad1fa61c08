# ruff: noqa: RUF001 - the marks of other scripts are meant
"""Requests that closed words tell beyond doubt: "make the car red", and "cut it out" said of what is to be drawn."""

import re

_SHADE = (
    r"(?:(?:light|dark|bright|pale|navy|sky|mint|royal)[ -]?|(?:hell|dunkel|knall|wein|himmel|mint|gras)-?)?"
    r"(?:red|blue|green|yellow|black|white|gr[ae]y|brown|pink|purple|violet|orange|turquoise|teal|beige|gold|silver|"
    r"rot|blau|grün|gelb|schwarz|weiß|weiss|grau|braun|rosa|lila|violett|türkis|golden|silbern|"
    r"rouges?|bleue?s?|verte?s?|jaunes?|noire?s?|blanc(?:he)?s?|grise?|marron|roses?|violette?s?|"
    r"roj[oa]s?|azul(?:es)?|verdes?|amarill[oa]s?|negr[oa]s?|blanc[oa]s?|gris(?:es)?|marr[oó]n|rosas?|morad[oa]s?|naranja)"
    r"(?: (?:clair|foncé|vif|marine|ciel|claro|oscuro|marino))?"
)
# White teeth are retouched, another colour behind is another background, and a picture has no one colour.
_NOT = (
    r"(?!(?:\w+\s+)?(?:background|backdrop|hintergrund|fond|arrière|fondo|teeth|zähne|dents|dientes|photo|foto|picture|"
    r"image|imagen|bild|skin|haut|peau|piel|letters?|text)\b)"
)
_RECOLOURED = re.compile(
    rf"\b(?:(?:make|paint|turn|dye|colou?r)\s+(?:the|my|his|her|our|their|this|that)\s+{_NOT}(?:(?!more\b|less\b)[\w'’-]+\s+){{1,3}}?"
    rf"|(?:mache?|färbe?|streiche?|lackiere?)\s+(?:bitte\s+|doch\s+|mal\s+)*(?:das|die|den|(?:mein|sein|ihr|unser)\w*)\s+{_NOT}(?:[\w-]+\s+){{1,2}}?"
    rf"(?:bitte\s+|doch\s+|mal\s+)*"
    rf"|(?:mets|peins|repeins|teins|colorie|rends)\s+(?:(?:la|les?|ma|mon|mes|sa|son|ses|notre|nos)\s+|l['’]){_NOT}"
    rf"(?:[\w'’-]+\s+){{1,3}}?(?:en\s+)?"
    rf"|(?:pon|pinta|haz|tiñe|colorea)\s+(?:el|la|los|las|mis?|sus?|nuestr[oa]s?)\s+{_NOT}(?:[\w-]+\s+){{1,3}}?"
    rf"(?:de\s+color\s+|de\s+|en\s+)?)"
    rf"{_SHADE}(?:\s+(?:please|bitte|por favor|svp|stp|s'il te plaît))?\W*$"
    r"|(?:把|将)(?!.{0,3}(?:背景|牙|照片|图|画面|文字))[^，。]{1,8}?(?:变成?|改成?|换成|涂成?|刷成?|染成?|弄成)"
    r"(?:浅|深|大|天|墨|酒)?(?:红|蓝|绿|黄|黑|白|灰|棕|粉|紫|橙|青|金|银)色?的?\W*$",
    re.IGNORECASE,
)
_CUT_OUT = re.compile(
    r"\bcut (?:it|him|her|them) out\b|\bschneide?\s+(?:ihn|sie|es)\s+(?:\w+\s+)?aus\b|\bstelle?\s+(?:ihn|sie|es)\s+"
    r"(?:\w+\s+)?frei\b|\b(?:détoure|découpe)-l(?:a|es?)\b|\brecórtal[oa]s?\W*$|\bquítale el fondo\b|抠",
    re.IGNORECASE,
)


def recolours(part: str) -> bool:
    """True for a request that gives a thing another colour: "mach das Auto rot"."""
    return _RECOLOURED.search(part) is not None


def cuts_out(part: str) -> bool:
    """True for a request to cut out what a word before it stands for: "schneide ihn aus"."""
    return _CUT_OUT.search(part) is not None
