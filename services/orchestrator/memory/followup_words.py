"""Phrases that speak of what was said before: English first, then German, French, Spanish, Chinese."""

import re

_A_BIT = r"(?:a (?:little )?(?:bit|touch)|slightly|a little|etwas|(?:ein )?bisschen|un peu|un poco)"
_A_LOT = r"(?:a lot|much|even|way|far|viel|beaucoup|mucho)"
_END = r"(?: of (?:that|it|this))?(?:,? please)?[.!]?\s*"


def _whole(*phrases: str) -> re.Pattern[str]:
    """Matches a goal that is one of the phrases and nothing else."""
    return re.compile(r"\s*(?:" + "|".join(phrases) + r")\s*", re.IGNORECASE)


UNDO = _whole(
    r"(?:please |no,? )?(?:undo|revert)(?: (?:that|it|this|the last (?:one|step|change|edit)))?" + _END,
    r"(?:please )?(?:go|take (?:that|it|this)) back" + _END,
    r"(?:go )?back to (?:the )?(?:previous|last|earlier)(?: (?:one|version|picture|image))?" + _END,
    r"(?:bitte )?(?:mach(?:e)? (?:das|es) (?:wieder )?)?rückgängig(?: machen)?" + _END,
    r"annule[rz]?(?: (?:ça|cela))?" + _END,
    r"reviens en arrière" + _END,
    r"(?:deshaz(?:lo)?|deshacer)(?: eso)?" + _END,
    r"(?:撤销|撤回|还原|恢复上一步)[^,]{0,6}",
)
AGAIN = _whole(
    r"(?:and |do (?:it|that) )?(?:again|once more|the same(?: again)?|noch ?mal|encore une fois|otra vez|再来一次)"
    + _END
)
SAME = re.compile(
    "|".join(
        (
            r"\b(?:the )?same\b.{0,24}\b(?:for|to|with|on|here)\b",
            r"\b(?:do|apply) (?:that|it|this)(?: too)? (?:for|to|with|on) (?:this|these|that)\b",
            r"^\s*(?:and |now )?(?:this|these)(?: ones?)?(?: too| as well| also)\b",
            r"^\s*the same(?: again)?[.!]?\s*$",
            r"\b(?:das ?selbe|das gleiche|genauso|la même chose|pareil|lo mismo|igual)\b",
            r"同样|一样",
        )
    ),
    re.IGNORECASE,
)
MORE = _whole(
    rf"(?:and |now |still )?(?:{_A_BIT}|{_A_LOT}|some)? ?(?:more|stronger|further)" + _END,
    rf"(?:noch )?(?:{_A_BIT}|{_A_LOT})? ?(?:mehr|stärker)" + _END,
    rf"(?:encore )?(?:{_A_BIT}|{_A_LOT})? ?(?:plus|más)" + _END,
    r"(?:再|多)(?:来)?一?点.{0,3}",
)
LESS = _whole(
    rf"(?:{_A_BIT}|{_A_LOT})? ?(?:less|weaker|weniger|schwächer|moins|menos)" + _END,
    rf"(?:(?:that|it)(?:'s| is) )?(?:{_A_BIT} |{_A_LOT} )?too (?:much|strong)" + _END,
    r"not so (?:much|strong(?:ly)?)" + _END,
    r"(?:das ist |c'est |es )?(?:zu viel|zu stark|trop|demasiado)" + _END,
    r"少一?点.{0,3}",
)
A_LOT = re.compile(rf"\b{_A_LOT}\b", re.IGNORECASE)
FAR = re.compile(r"\b(?:way|far|a lot|viel weniger|beaucoup moins|mucho menos)\b", re.IGNORECASE)
A_BIT = re.compile(rf"\b{_A_BIT}\b|一点", re.IGNORECASE)
ORDINALS = (
    r"1|one|first|erste[rns]?|première?|primer[ao]?",
    r"2|two|second|zweite[rns]?|deuxième|segund[ao]",
    r"3|three|third|dritte[rns]?|troisième|tercer[ao]?",
    r"4|four|fourth|vierte[rns]?|quatrième|cuart[ao]",
)


def picks(goal: str, number: int) -> bool:
    """Whether the goal says nothing but the number of an answer, from 0."""
    said = rf"\s*(?:the |option |number |no\.? ?)*(?:{ORDINALS[number]})(?: one| option)?(?:,? please)?[.!]?\s*"
    return re.fullmatch(said, goal, re.IGNORECASE) is not None
