"""Which of the given pictures a goal speaks of: all of them, or the first, the second, the last in a role."""

import re

_WORD = r"(?:images?|pictures?|photos?|pics?|shots?|ones?|files?|bild(?:er|ern|es)?|fotos?|aufnahmen?|imágenes|imagen)"
_EVERY = re.compile(
    rf"\b(?:both(?: of)?|all(?: (?:of|the|these|those|my|two|three|four|five|six|\d+))*|each(?: of)?|every(?: one of)?|"
    rf"beide[nr]?|alle[nr]?|jedes|les deux|tou(?:te)?s les|chaque|ambas|todas las|cada)\s+(?:the |these |of them |my |"
    rf"drei |vier |trois |quatre |tres |cuatro |\d+ )*{_WORD}\b|"
    rf"\b(?:all|both|each) of (?:them|these|those)\b|\bthe whole (?:set|series|batch)\b|\bthe same (?:for|to) all\b|"
    r"(?:两张|三张|所有|每张|全部)(?:的)?(?:照片|图片|图)",
    re.IGNORECASE,
)
_ORDINALS = {
    "first": 1, "1st": 1, "second": 2, "2nd": 2, "other": 2, "third": 3, "3rd": 3, "fourth": 4, "4th": 4, "last": -1,
    "ersten": 1, "erste": 1, "zweiten": 2, "zweite": 2, "dritten": 3, "letzten": -1,
    "première": 1, "premier": 1, "deuxième": 2, "seconde": 2, "troisième": 3, "dernière": -1,
    "primera": 1, "segunda": 2, "tercera": 3, "última": -1,
    "第一张": 1, "第二张": 2, "第三张": 3, "最后一张": -1,
}  # fmt: skip
_LEAD = (
    r"(?:(?:look|style|colou?rs?|tones?|mood|grading|light) of|from|of|out of|in|into|onto|on|to|like|with|aus|von|"
    r"auf|de|dans|sur|du|en)"
)
_NAMED = "|".join(name for name in _ORDINALS if not name.endswith("张"))
_ORDINAL = re.compile(
    rf"(?P<lead>\b{_LEAD}\s+)?(?:\b(?:the|my|dem|der|das|la|le|les)\s+)?"
    rf"(?P<which>\b(?:{_NAMED})\b|第[一二三]张|最后一张)(?:\s+{_WORD}\b|(?=\s*(?:[,.;)]|$))|(?<=张))|"
    rf"\b(?P<lead2>{_LEAD}\s+)?(?:{_WORD}|number|no\.?)\s+(?P<digit>[1-9])\b",
    re.IGNORECASE,
)
_SOURCES = frozenset({"from", "out of", "like", "aus", "von", "with"})
_TARGETS = frozenset({"into", "onto", "on", "to", "in", "auf", "sur", "dans"})


# "The second picture as the background", "put the second behind her": the picture that is to be the background.
_GROUND = r"(?:background|backdrop|hintergrund|fond|arrière-plan|fondo|背景)"
_PICTURE = rf"(?:\b(?:{_NAMED})\b|第[一二三]张)"
_WHAT = rf"(?:\s*{_WORD}\b|\s*(?:图|照片|图片))?\s*"
_BACKDROP = re.compile(
    rf"(?P<which>{_PICTURE}){_WHAT}(?:(?:is|be|becomes?|serves?|should be|soll|kommt)\s+)*"
    r"(?:as|als|comme|como|de|the|der|den|做|当|当作|作为|用作)\s*"
    rf"(?:the |a |an |its |my |new |le |el |der |第一张的?)*{_GROUND}|"
    rf"(?P<which2>{_PICTURE}){_WHAT}(?:behind|hinter|derrière|detrás|放到.{{1,8}}(?:后面|背后))|"
    rf"\b{_GROUND} (?:of|from|out of|des|vom|aus dem|de la|du) (?:the |der |la )?(?P<which3>{_NAMED})\b",
    re.IGNORECASE,
)


def every(goal: str) -> bool:
    """True where the goal is wanted for each of the given pictures: "both", "all three photos"."""
    return _EVERY.search(goal) is not None


def backdrop(clause: str) -> int | None:
    """The picture, counted from 1 (-1: the last), that is to be the background of another; None where none is."""
    match = _BACKDROP.search(clause)
    if match is None:
        return None
    return _ORDINALS[next(said for said in match.groups() if said).lower()]


def roles(clause: str) -> dict[str, int]:
    """`source_picture` and `target_picture`, counted from 1 (-1: the last), those that the words tell.

    "put the bottle from the second picture on the table of the first": the source is 2, the target 1.
    """
    said: list[tuple[str, int]] = []
    for match in _ORDINAL.finditer(clause):
        lead = (match["lead"] or match["lead2"] or "").strip().lower()
        lead = "like" if lead.endswith(" of") and lead != "out of" else lead  # "the look of the second"
        which = int(match["digit"]) if match["digit"] else _ORDINALS[match["which"].lower()]
        said.append((lead, which))
    if not said:
        return {}
    source = next((which for lead, which in said if lead in _SOURCES), None)
    if source is None and len(said) > 1:
        source = said[0][1]  # "the cup of the second on the table of the first": what is taken comes first
    target = next((which for lead, which in said if which != source and (lead in _TARGETS or source is not None)), None)
    if source is None and target is None:
        target = said[0][1]
    found = {"source_picture": source, "target_picture": target}
    return {name: which for name, which in found.items() if which is not None}
