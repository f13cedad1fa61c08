# ruff: noqa: RUF001 - the marks of other scripts are meant
"""Names of things from set phrases ("swap X for Y", "background to X"), where the words alone are plain enough."""

import re

from services.orchestrator.intent.clauses import bare

_EXCHANGE = (
    re.compile(
        r"\b(?:replac|swap|exchang|substitut|switch|trad|chang|turn|transform|convert|ersetz|tausch|remplac|échang|"
        r"reemplaz|sustitu|cambi)\w*\s+(?:out\s+)?(?P<object>.{2,80}?)\s+"
        r"(?:with|for|by|into|to|against|durch|gegen|par|contre|por)\s+(?P<replacement>.{2,120})$",
        re.IGNORECASE,
    ),
    re.compile(r"(?:把|将)(?P<object>.{1,20}?)(?:换成|替换成|替换为|变成|改成|改为)(?P<replacement>.{1,40})$"),
    re.compile(
        r"\b(?:put|place|use|show|want|draw|insert|have)\s+(?P<replacement>.{2,80}?)\s+"
        r"(?:instead of|in place of|where)\s+(?P<object>.{2,80}?)(?:\s+(?:is|was|stands))?$",
        re.IGNORECASE,
    ),
    re.compile(
        r"\binstead of (?P<object>.{2,60}?)[, ]+(?:put|use|show|draw|i want)\s+(?P<replacement>.{2,80})$", re.IGNORECASE
    ),
)
_BACKDROP = (
    re.compile(
        r"\b(?:background|backdrop|bg|hintergrund|fond|arrière-plan|fondo)\s+(?:\w+\s+){0,3}?(?:with|for|to|by|into|durch|gegen|"
        r"zu|par|pour|por)\s+(?P<background>.{2,100})$",
        re.IGNORECASE,
    ),
    re.compile(r"背景\w?(?:换成|改成|替换为|更换为|改为|变成|换)(?P<background>.{1,30})$"),
)
_COURTESY = re.compile(r"[\s,.!?]+(?:please|thanks|thank you|instead|bitte|por favor|pls|now|one)$", re.IGNORECASE)


def exchanged(clause: str) -> dict[str, str]:
    """`object` and `replacement` of a set phrase of exchange; empty if it is none."""
    return _read(_EXCHANGE, clause)


def backdrop(clause: str) -> dict[str, str]:
    """`background` of a set phrase that names a new backdrop; empty if it is none."""
    return _read(_BACKDROP, clause)


def things(words: str) -> str:
    """A list of things without articles: "the man, a dog and the bench" -> "man, dog, bench"."""
    parts = [bare(part) for part in re.split(r",|\s(?:and|und|et|y|&)\s|、|和", words)]
    return ", ".join(dict.fromkeys(part for part in parts if part))


def _read(patterns: tuple[re.Pattern[str], ...], clause: str) -> dict[str, str]:
    text = clause.strip(" \t\n.!?。！？")
    while match := _COURTESY.search(text, max(0, len(text) - 14)):
        text = text[: match.start()]
    for pattern in patterns:
        if found := pattern.search(text):
            return {name: said for name, value in found.groupdict().items() if (said := bare(value))}
    return {}
