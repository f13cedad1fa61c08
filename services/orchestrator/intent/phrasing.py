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
        r"^(?P<replacement>(?:an?|the|some|ein\w*|une?|des|una?)\s.{2,60}?)\s+"
        r"(?:instead of|in place of|rather than|for)\s+(?P<object>.{2,60})$",
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
_REMOVAL = (
    re.compile(
        r"\b(?:remov\w*|delet\w*|eras\w*|eliminat\w*|take out|get rid of|los[es]|edit out|clone out|wipe out|rub out|"
        r"expel\w*|"
        r"discard|ditch|entfern\w*|lösch\w*|supprim\w*|enlèv\w*|retir\w*|effac\w*|elimin\w*|borr\w*|quit\w*)\s+(?!(?:it|them|this|that|him|her)\b\W*(?:please\W*|out\W*)?$)"
        r"(?P<object>(?:the|that|this|those|these|all|my|his|her|any|a|an|der|die|das|den|le|la|les|l'|el|los|las)\s*.{2,80}?|"
        r".{2,40}?)(?=\s+from\b|\s+in the (?:image|picture|photo|scene|shot)|\s+aus\b|\s+de la\b|\s+from\b|[.;!?]|$)",
        re.IGNORECASE,
    ),
    re.compile(r"\bno (?P<object>[\w' -]{2,40}?) (?:in|on|left in) (?:the|this)\b", re.IGNORECASE),
    re.compile(
        r"\b(?:nimm|mach|schaff|räum|tu)e?\s+(?:bitte\s+)?(?P<object>.{2,60}?)\s+"
        r"(?:weg|raus|heraus|fort|aus (?:dem|der) (?:bild|foto|aufnahme))\b",
        re.IGNORECASE,
    ),
    re.compile(
        r"(?P<object>(?:der|die|das|dieser?|dieses)\s.{2,40}?)\s+(?:soll\w*|muss|müssen|kann|können)\s+"
        r"(?:bitte\s+)?(?:weg|raus|heraus|verschwinden)\b",
        re.IGNORECASE,
    ),
    re.compile(
        r"\bthere(?:['’]s| is| are)\s+(?:also\s+)?(?P<object>(?:an?|some|two|three|those|these)\s.{2,60}?)"
        r"(?=\s+(?:that|which|who|and|(?:on|in) it)\b|[.,;!?]|$)",
        re.IGNORECASE,
    ),
    re.compile(
        r"(?:把|将)(?P<object>.{1,20}?)(?:去掉|删掉|删除|移除|擦掉|弄掉)|(?:去掉|删除|移除|擦除|抹掉)(?P<other>.{1,20})$"
    ),
)
_ADDITION = (
    re.compile(
        r"\b(?:give|hand|lend)\s+(?:him|her|them|me|us|it|(?:the|this|my|his|her)\s+\w+)\s+(?P<object>(?:an?|some|two|three)\s.{2,60}?)"
        r"(?=\s+(?:to|in|on|around|for)\b|[.,;!?]|$)",
        re.IGNORECASE,
    ),
    re.compile(
        r"\b(?:add|put|plac|insert|draw|stick|includ|paint|hang|set)\w*\s+(?P<object>(?:(?:an?|some|another|two|three|more)\s)?.{2,60}?)"
        r"(?=\s+(?:to|on|in|into|onto|next to|behind|beside|under|above|around|near|over|at|between)\b|[.,;!?]|$)",
        re.IGNORECASE,
    ),
    re.compile(
        r"\b(?:fill|cover|decorate|load|top)\w*\s.{2,60}?\swith\s(?P<object>.{2,60}?)(?=[.,;!?]|$)", re.IGNORECASE
    ),
)
_RECOLOURED = re.compile(
    r"\b(?:the|my|his|her|their|our|this|that|these|those|all|das|die|den|la|le|les|el|las|los)\s+(?P<object>[^,.;]{2,50}?)\s+"
    r"(?:colou?r\s+)?(?:(?:should|must|to|shall|has to|needs to|could)\s+)?(?:be|become|turn|look|go)?\s*"
    r"(?:from\s+\w+\s+)?(?:to|in|into|en|de)?\s*(?:an?\s+)?$",
    re.IGNORECASE,
)
_COLOUR_OF = re.compile(r"^(?:colou?r|shade|tone) of (?:the|my|his|her|their)\s+|\s+colou?r$", re.IGNORECASE)
_NAMED_STYLE = (
    re.compile(r"\b(?:in|after) the style of (?P<style>[^,.;]{2,50})", re.IGNORECASE),
    re.compile(r"(?:变成|转换成|转换为|转成|改成|换成|做成|画成|成|为)(?P<style>[^，。]{1,8}?)(?:风格|效果|风(?!格))"),
)
_STYLE_TAIL = re.compile(
    r"[\s-]+(?:style[ds]?|look|effect|filter|aesthetics?|version|vibes?|treatment|mode|rendition|technique|techniques)$",
    re.IGNORECASE,
)
_MEDIUM_TAIL = re.compile(
    r"(?<!oil)(?<!wall)(?<!ink)(?<!cave)\s+(?:painting|drawing|illustration|artwork|picture|print)$", re.IGNORECASE
)
_SHOWN = re.compile(
    r"^(?:to\s+)?(?:represent|show|depict|convey|illustrate|portray|reflect|suggest|evoke|resemble|"
    r"feature|look like|become|"
    r"be|"
    r"express)\s+",
    re.IGNORECASE,
)
_SETTING_TAIL = re.compile(
    r"\s+(?:background|backdrop|setting|scene|scenery|ambian?ce|atmosphere|environment|landscape|mood|view|surface)$",
    re.IGNORECASE,
)
_SPARED = (
    re.compile(
        r"\b(?:everything|all|the rest|the whole \w+|anything|alles|tout|todo)\b[^.;]*?\b(?:except(?: for)?|apart from|"
        r"but(?! (?:also|then|do|don'?t|not|keep|leave|first|only|please)\b)|other than|besides|außer|bis auf|sauf|"
        r"à part|menos|excepto|salvo)\s+(?P<spared>.{2,60}?)"
        r"(?=\s+(?:to|in|into|so|a bit|slightly|black|white|grey|gr[ae]yscale|darker|brighter|schwarz\S*|grau|heller|"
        r"dunkler|en|à)\b|[,.;!?]|$)",
        re.IGNORECASE,
    ),
    re.compile(
        r"\b(?:keep|keeping|leave|leaving|let|with|only|just)\s+(?:only |just |nothing but )?"
        r"(?P<spared>(?:the|my|his|her|their|our)\s.{2,40}?)\s+(?:stay |be |remain )?"
        r"(?:in colou?r\b|colou?red\b|colou?rful)",
        re.IGNORECASE,
    ),
    re.compile(r"\b(?:colou?r (?:splash|pop)|selective colou?r) (?:on|for|with) (?P<spared>.{2,40})$", re.IGNORECASE),
    re.compile(r"除了?(?P<spared>.{1,12}?)(?:以外|之外|外|，|都|全)"),
)
# What people hide by blurring. No operation of the editor does; softening all but it would show it.
_HIDDEN = re.compile(
    r"\b(?:blur|pixel(?:ate|ise|ize)|censor|anonymi[sz]e)\s+(?:out\s+)?(?:the|this|that|those|these|all|any|my|his|her|their|our)"
    r"\s+(?:[\w']+\s+)?(?:plates?|faces?|names?|address(?:es)?|logos?|text|cars?|signs?|screens?|kids?|child(?:ren)?|person|"
    r"man|woman|boy|girl|eyes|numbers?|barcode|tattoos?|documents?)\b(?! behind| in the (?:back|distance))|"
    r"\b(?:verpixel\w*|flouter? (?:le|la|les) (?:visages?|plaques?))\b|打码|打马赛克",
    re.IGNORECASE,
)
_PRONOUNS = ("it", "him", "her", "them", "this", "that")
_COURTESY = re.compile(r"[\s,.!?]+(?:please|thanks|thank you|instead|bitte|por favor|pls|now|one)$", re.IGNORECASE)


def hides(goal: str) -> bool:
    """True where something is to be made unrecognisable: "blur the number plate"."""
    return _HIDDEN.search(goal) is not None


def coloured(words: str) -> str:
    """The thing that is to get the colour named after these words: "paint the old fence" -> "old fence"; or empty."""
    found = _RECOLOURED.search(words)
    thing = _COLOUR_OF.sub("", found["object"]) if found else ""
    return "" if thing.endswith(" from") else bare(thing)


def spared(clause: str) -> str:
    """What a change of all else leaves alone: "everything black and white except the dog" -> "dog"; or empty."""
    return _read(_SPARED, clause).get("spared", "")


def of_degree(words: str) -> str:
    """The thing without the degree of its colour: "sky more blue" -> "sky"."""
    return bare(re.split(r"\s+(?:a (?:bit|little|lot) |much |slightly )?(?:more|less|plus|más|mehr)\b", words)[0])


def named_style(clause: str) -> str:
    """The style of a set phrase ("in the style of Hopper", "变成水彩风格"); empty if it is none."""
    return _read(_NAMED_STYLE, clause).get("style", "")


def removed(clause: str) -> dict[str, str]:
    """`object` of a set phrase of removal, a list of things without articles; empty if it is none."""
    found = _read(_REMOVAL, clause)
    said = found.get("object") or found.get("other")
    return {"object": things(said)} if said and things(said) else {}


def added(clause: str) -> dict[str, str]:
    """`object` of a set phrase of addition; empty if it is none."""
    return _read(_ADDITION, clause)


def style_name(words: str) -> str:
    """The style without what every style has: "Klimt painting" -> "Klimt", "comic book style" -> "comic book"."""
    shorter = _MEDIUM_TAIL.sub("", _STYLE_TAIL.sub("", bare(words)))
    return bare(shorter) or words


def setting(words: str) -> str:
    """The backdrop without "to show a" and "scene": "to convey a beach setting" -> "beach"."""
    shorter = bare(_SHOWN.sub("", bare(words)))
    return bare(_SETTING_TAIL.sub("", shorter.split(",")[0])) or words


def exchanged(clause: str) -> dict[str, str]:
    """`object` and `replacement` of a set phrase of exchange; empty if it is none."""
    return _read(_EXCHANGE, clause)


def backdrop(clause: str) -> dict[str, str]:
    """`background` of a set phrase that names a new backdrop; empty if it is none."""
    return _read(_BACKDROP, clause)


def things(words: str) -> str:
    """A list of things without articles: "the man, a dog and the bench" -> "man, dog, bench"."""
    parts = [bare(part) for part in re.split(r",|\s(?:and|und|et|y|&)\s|、|和", words)]
    parts = [part for part in parts if part.lower() not in _PRONOUNS] or parts
    return ", ".join(dict.fromkeys(part for part in parts if part))


def _read(patterns: tuple[re.Pattern[str], ...], clause: str) -> dict[str, str]:
    text = clause.strip(" \t\n.!?。！？")
    while match := _COURTESY.search(text, max(0, len(text) - 14)):
        text = text[: match.start()]
    for pattern in patterns:
        if found := pattern.search(text):
            return {name: said for name, value in found.groupdict().items() if value and (said := bare(value))}
    return {}
