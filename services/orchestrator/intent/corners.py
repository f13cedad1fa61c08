# ruff: noqa: RUF001 - the marks of other scripts are meant
"""Rounded corners and round pictures: "round the corners", "mach ein rundes Profilbild daraus", "en cercle", "圆角"."""

import re

_JOIN = r"(?:(?:and|then|also|und|dann|et|puis|y|luego|please|bitte)\s+){0,3}"
_WITH = r"(?:with|give|add|make|mit|gib|avec|donne|ajoute|con|dale|haz|pon)"
_IT = r"(?:it|this|that|them|(?:the|this|my) (?:picture|photo|image|logo)|ihm|dem bild|-lui|a la (?:foto|imagen))"
_NOUN = r"(?:avatar|profile (?:pic(?:ture)?|photo|image)|headshot|icon|thumbnail|badge|sticker|portrait)"
_ROUNDED = re.compile(
    rf"(?<!\w){_JOIN}(?:(?:{_WITH}\s*(?:{_IT}\s+)?)?(?:(?:nice|soft|slightly|smooth|the|"
    rf"some)\s+)*round(?:ed)?(?: off)? (?:the |its )?corners?|"
    r"make (?:the|its) corners round(?:ed)?|"
    rf"(?:{_WITH}\s*(?:{_IT}\s+)?)?(?:ab)?gerundete[nr]? ecken|(?:runde|rund) (?:bitte )?die ecken ab|ecken abrunden|"
    rf"mach die ecken rund|"
    rf"(?:{_WITH}{_IT}?\s+)?(?:des |les )?(?:coins|bords|angles) arrondis|arrondi[srt]* (?:les|ses) (?:coins|angles|"
    rf"bords)|"
    rf"(?:{_WITH}\s*(?:{_IT}\s+)?)?(?:las )?esquinas redondeadas|redonde(?:a|ar|e) (?:las|sus) esquinas|"
    r"(?:[并再请]*(?:[把将给])?(?:图片|照片|图|它)?(?:加上?|做成?|变成?|改成?|换成|添加)?一?个?圆角(?:效果|图片)?))(?!\w)",
    re.IGNORECASE,
)
_CIRCLE = re.compile(
    rf"(?<!\w){_JOIN}(?:(?:make|turn|crop|cut|trim)\s+{_IT}\s+(?:in(?:to)?\s+|to\s+|as\s+)?(?:a\s+)?"
    rf"(?:circle|circular(?: {_NOUN})?|round(?: {_NOUN})?)(?! (?:up|off|the|corners))|"
    rf"(?:as\s+|into\s+|to\s+)?a\s+(?:circular|round) {_NOUN}|(?:circular|round) {_NOUN}|circular crop|"
    rf"crop (?:in)?to a circle|"
    r"(?:mach(?:e)? (?:es|das bild|das foto) |schneide? (?:es|das bild|das foto) )(?:rund|kreisrund|"
    r"kreisförmig)(?: zu| aus)?|"
    r"(?:rund|kreisförmig) (?:zuschneiden|ausschneiden)|(?:als |ein )?rundes (?:profilbild|avatar|bild)(?: daraus)?|"
    r"(?:recadre|découpe|mets)(?:-l[ae]| l['’]image| la photo)? en (?:cercle|rond)|(?:avatar|photo de profil) ronde?|"
    r"(?:recorta|corta|haz)(?:l[oa])?(?: la (?:foto|imagen))? (?:en |un )?(?:círculo|circular|redond[oa])|"
    r"(?:avatar|foto de perfil) (?:circular|redond[oa])|"
    r"[并再请]*[把将]?(?:图片|照片|图|它)?[裁剪切做变改]*[成为]?圆形(?:头像|图片)?)(?!\w)",
    re.IGNORECASE,
)
_OF = r"(?:(?:the|this|my|her|his) (?:picture|photo|image|pic|face|head)|her|him|me|us|them|it|this|that)"
# Of the picture that is there: to draw one is another wish.
_MADE = re.compile(
    rf"(?<!\w){_JOIN}(?:(?:make|create|cut|crop|get)\s+(?:(?:me|us)\s+)?(?:an?\s+|my\s+)?(?:circular|round) {_NOUN}"
    rf"(?:\s+(?:of|from|out of|with)\s+{_OF})?|"
    r"(?:mache?|erstelle?)\s+(?:(?:mir|uns)\s+)?(?:ein(?:en)?\s+)?runde[sn] (?:profilbild|avatar)"
    r"(?:\s+(?:daraus|(?:von|mit) (?:ihr|ihm|mir|ihnen|uns)|aus (?:dem|diesem) (?:bild|foto)))?|"
    r"(?:fai(?:s|tes)|crée[rz]?)(?:-(?:moi|nous|en))?\s+(?:une?\s+)?(?:avatar|photo de profil) ronde?"
    r"(?:\s+(?:de|avec|à partir de) (?:(?:cette|la|ma) photo|(?:cette |l['’])image|elle|lui|moi|eux))?|"
    r"(?:haz(?:me|nos)?|créa?(?:me|nos)|crear?)\s+(?:una?\s+)?(?:avatar|foto de perfil) (?:circular|redond[oa])"
    r"(?:\s+(?:de|con) (?:ell[ao]s?|él|mí|(?:esta|la|mi) (?:foto|imagen)))?|"
    r"(?:请|帮[我忙])*(?:[把将用给](?:她|他|我|它|这张?(?:照片|图片|图)))?(?:做|制作|弄|裁)(?:成|出)?一?[个张]?圆形?的?头像)(?!\w)",
    re.IGNORECASE,
)
_FACE = re.compile(r"avatar|profil|headshot|portrait|perfil|头像", re.IGNORECASE)
_LEFT_OVER = re.compile(
    r"(?:[\W_]|\b(?:please|bitte|the|it|this|picture|photo|image|make|use|i want|with|das|bild|foto|la|por favor|"
    r"as|an?|in|als|en|como|png|jpe?g|webp|avif)\b|"
    r"[把将请图片照这张])*",
    re.IGNORECASE,
)
_LED = re.compile(r"\s*(?:with|mit|avec|con|and|then|also|und|dann|et|puis|y|luego)\b", re.IGNORECASE)
# Such words are a request of their own, or led to by "with" or "and".
_BEGINS = re.compile(r"(?:^|[,;:.!?，。；、]|\b(?:and|then|also|und|dann|et|puis|y|luego))\s*$", re.IGNORECASE)
_ENDS = re.compile(
    r"\s*(?:$|[,;.!?，。；、]|(?:and|then|und|dann|et|puis|y|luego|please|bitte|as|in|als|en|como|for|für|pour|para|s['’]il|"
    r"por favor)\b)",
    re.IGNORECASE,
)
# As a share of the shorter side: what a card on a web page has.
_USUAL = 0.08

Slots = dict[str, str | float | int]


def rounded(goal: str) -> tuple[str, Slots]:
    """The goal with such words blanked, and the slots of the crop that they ask for: `corner_radius` and `round`."""
    for pattern in (_MADE, _CIRCLE, _ROUNDED):
        said = pattern.search(goal)
        led = said is not None and _LED.match(said[0]) is not None
        if said is None or not ((led or _BEGINS.search(goal[: said.start()])) and _ENDS.match(goal[said.end() :])):
            continue
        left = goal[: said.start()] + " " * (said.end() - said.start()) + goal[said.end() :]
        if pattern is _ROUNDED:
            return left, {"corner_radius": _USUAL}
        return left, {"corner_radius": 0.5, "round": "face" if _FACE.search(said[0]) else "subject"}
    return goal, {}


def is_all(left: str) -> bool:
    """Whether what is left of a goal asks for nothing."""
    return _LEFT_OVER.fullmatch(left) is not None
