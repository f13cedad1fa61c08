# ruff: noqa: RUF001 - the marks of other languages are meant
"""A profile that a goal names in its words: "use our acme profile", "brighten it, in the acme brand style". Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_JOIN = r"(?:[\s,;.:–-]*\b(?:and|then|also|und|dann|et|puis|y|luego)\b)?[\s,;:–-]*"
_LEAD = (
    r"(?:(?:please|bitte)\s+)?(?:use|using|apply|applying|follow|following|take|with|in|per|as per|according to|for|to|"
    r"nutze|verwende|benutze|nimm|mit|im|nach|in|für|utilise|applique|avec|selon|dans|usa|aplica|con|según|en)"
)
_THE = r"(?:(?:the|our|my|a|das|dem|den|der|unsere?[mnrs]?|le|la|les|notre|nos|mon|el|nuestr[oa]s?|mi)\s+)?"
_WHAT = (
    r"(?:brand profile|profile?|perfil|brand(?:ing)?(?: style| colours| colors| guide(?:lines)?| look)?|house style|"
    r"style ?guide|corporate (?:design|identity)|marke|markenprofil|marque|charte|marca|品牌|配置|风格档案)"
)
_NOT_A_PICTURE = r"(?![\w-]|\s+(?:pic(?:ture)?s?|photos?|images?|bild|foto|page)\b)"
_QUOTE = r"[\"'“”„«»‘’]?"
# Only these words alone tell of a profile that there is not: "brand" and "style" are said of much else.
_SURE = r"(?:use|using|apply|follow|nutze|verwende|benutze|utilise|applique|usa|aplica)"


@dataclass(frozen=True)
class Named:
    """`name`: of a profile, empty for none; `wish`: the goal without it; `unknown`: a name that no profile has."""

    name: str
    wish: str
    unknown: str = ""


def named(goal: str, profiles: Iterable[str]) -> Named:
    """The profile that the goal names; `wish` is the goal itself where it names none."""
    for name in sorted(profiles, key=len, reverse=True):
        if (found := _said(goal, re.sub(r"[-_]", r"[\\s_-]", name))) is not None:
            return Named(name, _without(goal, found))
    found = re.search(
        rf"{_JOIN}\b{_SURE}\s+{_THE}{_QUOTE}(?P<said>[A-Za-z0-9][\w-]*){_QUOTE}\s+(?:brand )?(?:profile?|perfil)"
        + _NOT_A_PICTURE,
        goal,
        re.IGNORECASE,
    )
    return Named("", _without(goal, found), found["said"]) if found else Named("", goal)


def _said(goal: str, name: str) -> re.Match[str] | None:
    before = rf"(?:{_LEAD}\s+|^\s*|[,;:]\s*){_THE}{_QUOTE}\b{name}\b{_QUOTE}(?:['’]s)?\s*-?\s*{_WHAT}"
    after = rf"(?:{_LEAD}\s+|^\s*|[,;:]\s*){_THE}{_WHAT}\s*(?:de |of |von |named |called )?{_QUOTE}\b{name}\b{_QUOTE}"
    return re.search(rf"{_JOIN}(?:{before}|{after}){_NOT_A_PICTURE}", goal, re.IGNORECASE)


def _without(goal: str, found: re.Match[str]) -> str:
    """The goal without the words that name the profile and what joined them to the rest."""
    rest = f"{goal[: found.start()].rstrip()} {goal[found.end() :].lstrip(' ')}"
    rest = re.sub(r"^[\s,;.:–-]*(?:(?:and|then|und|dann|et|puis|y|luego|to|zum|pour|para)\b[\s,]*)*", "", rest)
    rest = re.sub(r"\s+([,;.:!?])", r"\1", rest).strip(" ,;:–-")
    return rest if re.search(r"\w", rest) else ""
