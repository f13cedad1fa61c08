# ruff: noqa: RUF001 - the marks of other scripts are meant
"""The words to draw from, out of a goal that asks for a picture."""

import re

_POLITE = re.compile(
    r"^(?:(?:please|hey|hi|hello|ok|so|now|just|kindly|let's|pls|plz|bitte|s'il te pla[iî]t|por favor)\b[,!]?\s*"
    r"|(?:can|could|would|will) you\s+(?:please\s+)?|i(?:'d| would) like (?:you to|to)\s+|"
    r"i (?:want|need) you to\s+|help me\s+|"
    r"go ahead and\s+|(?:first(?: of all)?|start by)[,:]?\s+)+",
    re.IGNORECASE,
)
_COMMAND = re.compile(
    r"^(?:draw|paint|create|creating|drawing|generat(?:e|ing)|make|design|render|sketch|illustrate|"
    r"produce|imagine|compose|show|"
    r"visuali[sz]e|give|build|do|come up with|picture this:|prompt:|i (?:need|want)|i(?:'d|"
    r" would) like|we need|male|zeichne|erstelle|"
    r"generiere|erzeuge|entwirf|mach|ich (?:hätte gern|brauche|möchte)|dessine|crée|génère|peins|"
    r"fais|imagine|je voudrais|"
    r"dibuja|crea|genera|pinta|haz|quiero|necesito)\b(?:[- ]?(?:me|us|for me|mir|moi))?\s*",
    re.IGNORECASE,
)
_COMMANDED = re.compile(
    r":|画|生成|\b(?:draw|paint|create|generate|make|design|render|sketch|illustrate|produce|imagine|compose|show|give|need|want|"
    r"like|picture|image|male|zeichne|erstelle|generiere|mach|brauche|dessine|crée|génère|fais|voudrais|dibuja|crea|genera|haz|"
    r"quiero|necesito)\b",
    re.IGNORECASE,
)
_RECEIVER = re.compile(r"^(?:for )?(?:me|us|mir|uns|moi|nous)\s+", re.IGNORECASE)
_CARRIER = re.compile(
    r"^(?:(?:an?|the|one|some)\s+)?(?:(?:new|completely new|brand new|fresh|separate)\s+)?(?:picture|image|"
    r"scene|bild|imagen|foto)\s*(?:of|with|showing|von|de|con|:)\s*",
    re.IGNORECASE,
)
_LEFT_OVER = re.compile(r"^(?:of|von|de)\s+", re.IGNORECASE)  # where the words before it were no part of the prompt
_IDEOGRAPHIC = re.compile(r"^(?:请|帮我|给我|麻烦)*(?:画|生成|创作|设计|来)(?:一张|一个|一幅)?")
# "A photo of a cat", but neither "the photo of a cat" nor "a photo of my cat": those exist.
_PICTURED = re.compile(
    r"^\W*(?:(?:an?|one|some|two|three|several|ein|une?|una)\s+(?:[\w-]+\s+){0,3}?)?"
    r"(?:photo(?:graph)?s?|pictures?|images?|pics?|snapshots?|fotos?|bild(?:er)?|im[aá]gen(?:es)?)\s+"
    r"(?:of|showing|von|de|d['’])\s*(?!(?:my|our|your|this|that|these|those|it|me|us|him|her|them|the|mein\w*|unser\w*|"
    r"dies\w*|mon|ma|mes|notre|nos|mis?|nuestr\w*|est\w*|yesterday|last|gestern|hier|ayer)\b)\w",
    re.IGNORECASE,
)
# A command to draw, where it opens the goal. What is drawn onto something needs that to be there.
_TO_DRAW = re.compile(
    r"^\W*(?:(?:please|bitte|por favor|s'il (?:te|vous) pla[iî]t|(?:can|could|would) you(?: please)?|"
    r"kannst du(?: mir| bitte)*|peux-tu|puedes)\W+)?"
    r"(?:(?:draw|sketch|illustrate|zeichne?|male?|dessiner?|dibujar?|dib[uú]jame)\b"
    r"(?!\s+(?:attention|on|over|onto|around|(?:an? )?(?:\w+ )?(?:line|circle|box|frame|border|arrow|moustache)s?)\b)|"
    r"(?:请|帮我|给我|麻烦你?|能不能|可以)*(?:画(?![面质布中里]|[^，。]{0,6}上[加画])|生成))",
    re.IGNORECASE,
)
_MARKS = " \t\n,;:.!?-，。、；！？"
_TAIL = re.compile(
    r"\s(?:please|thanks|thank you|thx|pls|for me|asap|and|then|und|dann|et|puis|y|luego)$", re.IGNORECASE
)


def commands(words: str) -> bool:
    """True if these words hold a command to draw, so that the prompt only begins after them."""
    return _COMMANDED.search(words) is not None


def pictured(words: str) -> bool:
    """True for words that name a picture of something, as people who want it drawn do ("a photo of a red barn"), and
    for those that open with a command to draw."""
    return (_PICTURED.match(words) or _TO_DRAW.match(words)) is not None


def drawn(words: str) -> str:
    """The prompt without courtesy, command and carrier: "please draw me a picture of a red apple" -> "a red apple".

    The words themselves, trimmed, when nothing else would be left.
    """
    text = _POLITE.sub("", words.strip())
    text = _IDEOGRAPHIC.sub("", _COMMAND.sub("", text, count=1))
    text = _LEFT_OVER.sub("", _CARRIER.sub("", _RECEIVER.sub("", text, count=1), count=1))
    shorter = _without_tail(text).strip(" \"'")
    return shorter or words.strip()


def _without_tail(text: str) -> str:
    """The text without marks, courtesy and joining words at its end."""
    shorter = text.rstrip(_MARKS)
    while match := _TAIL.search(shorter, max(0, len(shorter) - 12)):
        shorter = shorter[: match.start()].rstrip(_MARKS)
    return shorter
