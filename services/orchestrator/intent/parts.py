# ruff: noqa: RUF001 - the marks of other scripts are meant
"""Which part of the picture a change of light or colour is for: "make the sky darker". Pure.

Only what the editor finds by name counts; of anything else the whole picture is meant.
"""

import re

# English as the editor names them, then what is asked for most in the other languages.
_THINGS = (
    "background|backdrop|foreground|subject|sky|clouds|faces?|skin|lips|eyes|teeth|text|logo|"
    "persons?|people|man|men|woman|women|child|children|kid|boy|girl|baby|astronaut|"
    "bicycle|bike|cars?|motorcycle|motorbike|airplane|plane|bus|train|truck|boats?|ship|bench|"
    "birds?|cats?|dogs?|puppy|kitten|horses?|sheep|cows?|elephant|bear|zebra|giraffe|"
    "backpack|umbrella|handbag|bag|suitcase|bottle|glass|cup|mug|bowl|banana|apples?|orange(?! juice)|pizza|cake|"
    "chair|couch|sofa|plant|table|tv|laptop|phone|book|clock|vase|"
    "himmel|hintergrund|gesicht|haut|augen|zähne|person|mann|frau|kind|hund|katze|auto|"
    "ciel|fond|arrière-plan|visage|peau|yeux|dents|personne|homme|femme|enfant|chien|chat|voiture|"
    "cielo|fondo|cara|rostro|piel|ojos|dientes|hombre|mujer|niño|niña|perro|gato|coche"
)
_THE = (
    r"(?:the|my|his|her|their|our|its|this|these|those|der|die|das|den|dem|des|meine?n?|le|la|les|mon|ma|mes|el|los|"
    r"las|mi|mis)\s+|l['’]"
)
_PICTURE = r"photo\w*|picture|pic|image|shot|portrait|bild|foto\w*|aufnahme|imagen|whole thing"
_PART = re.compile(rf"\b(?:{_THE})(?:\w+\s+)?({_THINGS})\b(?!['’]s\b|\s+(?:{_PICTURE}))", re.IGNORECASE)
_WHOLE = re.compile(rf"\b(?:{_THE})(?:\w+\s+){{0,2}}?(?:{_PICTURE})\b", re.IGNORECASE)
_CHINESE = re.compile(r"(天空|背景|人物|脸部?|皮肤|眼睛|牙齿|猫|狗|汽车)")
# A thing after these is a place, a model to follow, or what is to be left alone.
_ASIDE = re.compile(
    r"\b(?:of|in|on|behind|around|near|like|as|than|from|with|without|except|but|not|keep|match\w*|von|im|auf|hinter|wie|als|aus|"
    r"ohne|außer|nicht|de|du|des|dans|sur|derrière|comme|que|sans|sauf|en|sobre|detrás|como|sin|salvo|menos)\s+$"
    r"|\b(?:without|leaving|keeping|ohne|sans|sin)\s+\w+\s+$",
    re.IGNORECASE,
)


def part_of(clause: str) -> str:
    """The one thing whose light or colour the clause changes, as it is called there; empty for the whole picture."""
    whole, found = (
        [match for match in pattern.finditer(clause) if not _ASIDE.search(clause[: match.start()])]
        for pattern in (_WHOLE, _PART)
    )
    if whole:
        return ""
    names = {match[1].lower() for match in found} or {match[1] for match in _CHINESE.finditer(clause)}
    return names.pop() if len(names) == 1 else ""
