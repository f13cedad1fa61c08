# ruff: noqa: RUF001 - the marks of other scripts are meant
"""The bytes that a goal allows its file: "compress it below 200 KB", "unter 2 MB", "moins de 300 Ko", "小于200KB"."""

import re

_NUMBER = r"\d{1,5}(?:[.,]\d{1,2})? ?(?:[km]bs?|[km]o|兆)"
_AMOUNT = re.compile(
    r"(?<![\w.,])(?P<count>\d{1,5}(?:[.,]\d{1,2})?)[\s-]?(?P<unit>[km]i?bs?|[km]o|kilo(?:bytes?|octets?)|"
    r"m[eé]ga(?:bytes?|octets?|s)?)(?![a-zà-ÿ\d])|(?P<count_zh>\d{1,5}(?:\.\d{1,2})?)\s?(?P<unit_zh>[km]i?b?|"
    r"兆)(?![a-z\d])",
    re.IGNORECASE,
)
_MOST = re.compile(
    r"(?:\b(?:below|under|beneath|(?:less|lower|smaller|lighter) than|at (?:the )?most|"
    r"max(?:imum)?\.?(?: (?:file ?)?size)?"
    r"(?: of| is)?|(?:no|not) (?:more|larger|bigger|heavier|over)(?: than)?|up to|within|limit (?:of|is)|(?:not|"
    r"never) exceed(?:ing)?|"
    r"unter(?:halb von)?|(?:kleiner|weniger|leichter) als|höchstens|max(?:imal(?:e \w+)?)?\.?|bis zu|nicht (?:mehr|"
    r"größer) als|"
    r"nicht über|(?:moins|pas plus) de|au (?:plus|maximum)|(?:en|au)[- ]dessous de|inférieure? à|sous(?: les)?|"
    r"jusqu['’]à|"
    r"(?:menos|no más) de|como máximo|máx(?:imo)?\.?(?: de)?|por debajo de|inferior a|hasta|auf)|<=?|≤|"
    r"小于|低于|少于|不超过|不大于|不高于|不多于|控制[在到]|压缩?[到至成]|缩小?[到至]|限制[在为到]|减小?[到至]|最大|最多)[\s:：]*$",
    re.IGNORECASE,
)
_SQUEEZED = re.compile(
    r"\b(?:compress|shrink|reduc|squeez|squash|optimi[sz]|minimi[sz]|get\b|bring|cut\b|limit|lower|file ?size|komprim|"
    r"verkleiner|rédui|all[eè]g|compr[ií]m|redúc)(?:[^.;!?]|\.\d)*\b(?:to|at|in|into|à|a|de|of|is)\s+$",
    re.IGNORECASE,
)
_OR_LESS = re.compile(
    r"\s*(?:or (?:less|smaller|under)\b|max(?:imum|imal)?\b\.?|at most\b|tops\b|oder (?:weniger|kleiner)\b|höchstens\b|"
    r"ou moins\b|au (?:plus|maximum)\b|o menos\b|como máximo\b|máx(?:imo)?\b\.?|(?:字节)?(?:以内|以下|之内|之下|内))",
    re.IGNORECASE,
)
_OF_A_FILE = re.compile(r"\s*(?:jpe?g|png|webp|avif)\b", re.IGNORECASE)
_JOIN = (
    r"(?:and|but|then|finally|also|with|that|which|is|has|of|in|to|into|down|at|a|the|as|und|aber|dann|mit|das|die|"
    r"et|mais|puis|avec|à|"
    r"qui|y|pero|luego|con|que|please|bitte|por favor|from|von)"
)
_VERB = (
    r"(?:compress|shrink|reduce|squeeze|squash|optimi[sz]e|minimi[sz]e|get|bring|make|keep|cut|limit|lower|resize|"
    r"save|export|"
    r"(?:should|must|has to|needs to|can|may)(?: (?:be|have|stay|weigh|fit))?|(?:i|we) (?:need|want)|(?:ich |"
    r"wir )?brauchen?|file ?size|"
    r"komprimiere?|verkleiner[en]?|reduziere?|bringe?|mache?|halte?|optimiere?|(?:soll|darf|muss)(?:te)?|"
    r"speicher[en]?|dateigröße|"
    r"compresse[rz]?|réduis|rédui(?:re|sez)|all[eè]ge[rz]?|optimise[rz]?|(?:doit|peut) (?:faire|peser|être)|"
    r"compr[ií]me(?:l[oa]s?)?|comprimir|reduce(?:l[oa]s?)?|reducir|redúcel[oa]s?|optimiza\w*|haz|deja|(?:debe|"
    r"que) (?:pesar|pese))"
)
_THING = (
    r"(?:it|this|that|them|everything|my|file|size|weight|picture|photo|image|pic|photos|images|pictures|so|fits?|"
    r"es|der|den|auf|bild|foto|datei|bilder|größe|sein|la|le|les|ça|cette|cet|fichier|taille|poids|pour|l['’]image|"
    r"-?l[ae]s?|"
    r"el|los|las|lo|archivo|imagen|tamaño|peso|just|bitte|mal)"
)
_WORDS = re.compile(rf"(?:(?<![\w'’]){_JOIN}[\s:]+)*$", re.IGNORECASE)
_WORDS_TO_DO = re.compile(
    rf"(?:(?<![\w'’-])(?:{_JOIN}|{_VERB}|{_THING})[\s:]+|(?<=\w)-l[ae]s?\s+|\b\d[\d.,]*\s?[km][bo]\s+)*(?:(?:请|并|再|"
    rf"然后|最后|把|将|图片|照片|文件|图像|大小|体积|这张图?|它|"
    r"压缩|控制|减小|优化|一下|到|至|在|为)\s*)*$",
    re.IGNORECASE,
)
_AFTERWARDS = re.compile(
    r"\s*(?:(?:in (?:file )?size|file size|please|bitte|thanks|gro(?:ß|ss)|klein|large|big|sein|haben|bleiben|bringen|"
    r"komprimier\w*|verkleiner\w*|reduzier\w*|s['’]il (?:te|vous) plaît|por favor|吧|即可|就行|"
    r"(?:so )?(?:that )?(?:i can|we can|to|for|für|zum|pour|para)(?: (?:an?|the|my|our|die|den|das|le|la|l|el|"
    r"un))?['’ ]"
    r"(?:e-?mail(?:s|ing)?(?: it)?|web(?:site|site|shop)?|upload(?:s|ing)?(?: it)?|mail(?:s|ing)?(?: it)?|hochladen|"
    r"formular|form|correo|internet|attachments?|anhang))(?!\w))*",
    re.IGNORECASE,
)
# What is told of the file that is there: it bounds nothing.
_TOLD = re.compile(
    r"(?:^|(?<=[.;,:!?。，；]))\s*(?:(?:"
    r"(?:the|my|this) (?:photo|picture|image|file|pic|jpe?g|png) (?:is|has|weighs)"
    r"(?: (?:over|about|around|almost|nearly|more than|already))*|"
    r"(?:das|dieses|mein) (?:foto|bild) (?:ist|hat|wiegt)(?: (?:über|etwa|ungefähr|mehr als|fast|schon))*|"
    r"(?:la|cette|ma) photo (?:fait|pèse)(?: (?:plus de|environ|presque|déjà))*|"
    r"(?:la|esta|mi) (?:foto|imagen) (?:pesa|ocupa|tiene)(?: (?:más de|unos|casi|ya))*"
    rf") {_NUMBER}(?: (?:groß|large|big|in size))?|"
    rf"(?:这张|我的)?(?:照片|图片|图|文件)(?:有|是|超过|大概|已经)+{_NUMBER})\s*(?=[.;,:!?。，；])",
    re.IGNORECASE,
)
_FAR = 160  # characters around an amount that are looked at
_BYTES = {"k": 1000, "m": 1000**2, "ki": 1 << 10, "mi": 1 << 20}
_ASKS = re.compile(rf"\b{_VERB}\b|压缩|控制|减小|优化", re.IGNORECASE)
_LEFT_OVER = re.compile(
    rf"(?:[\W_]|\b(?:{_JOIN}|{_VERB}|{_THING}|png|jpe?g|webp|avif|format)\b|另?[保存]+|[为成]|格式)*", re.IGNORECASE
)


def allowed(goal: str, *, has_image: bool) -> tuple[str, int | None]:
    """The goal with a part like "and keep it under 200 KB" blanked by as many spaces, and the bytes it allows.

    KB is 1000 bytes, so that it holds for those as well to whom it is 1024. Where there is a picture, the words that
    ask for no more than a smaller file are blanked as well; and what is told of the size it has.
    """
    goal = _TOLD.sub(lambda told: " " * len(told[0]), goal)
    for said in _AMOUNT.finditer(goal):
        before, after = goal[max(0, said.start() - _FAR) : said.start()], goal[said.end() : said.end() + _FAR]
        most, less = _MOST.search(before), _OR_LESS.match(after)
        bare = said["unit"] is not None  # "200K" alone may be anything
        if most is None and less is None and not (bare and (_SQUEEZED.search(before) or _OF_A_FILE.match(after))):
            continue
        led = before[: most.start()] if most is not None else before
        start = said.start() - len(before) + _with_its_words(led, has_image)
        end = said.end() + (less.end() if less is not None else 0)
        trailing = _AFTERWARDS.match(goal, end)
        end = trailing.end() if trailing is not None else end
        return goal[:start] + " " * (end - start) + goal[end:], _bytes(said)
    return goal, None


def is_all(left: str) -> bool:
    """Whether what is left of a goal asks for nothing but a file."""
    return _LEFT_OVER.fullmatch(left) is not None


def _with_its_words(before: str, has_image: bool) -> int:
    """Where the words about the file begin that lead to the amount."""
    run = _WORDS_TO_DO.search(before)
    if has_image and run is not None:
        alone = re.search(r"(?:^|[,;.:!?，。；、])\s*$", before[: run.start()])
        if alone or _ASKS.search(run[0]):
            return run.start()
    joints = _WORDS.search(before)
    return joints.start() if joints is not None else len(before)


def _bytes(said: re.Match[str]) -> int:
    unit = (said["unit"] or said["unit_zh"]).lower().replace("兆", "m")
    each = _BYTES[unit[0] + ("i" if unit[1:3] == "ib" else "")]
    return max(1, int(float((said["count"] or said["count_zh"]).replace(",", ".")) * each))
