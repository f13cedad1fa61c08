# ruff: noqa: RUF001 - the marks of other scripts are meant
"""What a goal forbids or wants kept: "keep the face as it is", "but don't crop it"."""

import re

_PARTS = re.compile(
    r"[;,\n，。；、!?！？]|\.(?=\s|$)|\s[-–—]\s|\s(?:but|yet|though|aber|jedoch|mais|pero)\s|"
    r"\s(?=(?:and|und|et|y)\s(?:keep|leave|don'?t|do not|never|no|lass|ne|sin|no)\b)",
    re.IGNORECASE,
)
_LIMIT = re.compile(
    r"^(?:and |please |just |und |et |y |bitte )*(?:"
    r"(?:keep|keeping|preserve|preserving|retain|maintain|maintaining)\b"
    r"(?! only| just| out|.*\b(?:half|part|third|in colou?r)\b)|"
    r"(?:leave|leaving)\b.*\b(?:as (?:it|they)|as is|alone|untouched|unchanged|in place|intact)\b|leave the rest|"
    r"(?:do not|don'?t|never(?! mind)|avoid)\b|without \w+ing\b|no need to|there(?:'s| is) no need|"
    r"no(?:t too\b| (?:\w+ing\b|filters?|changes|edits|effects))|"
    r"(?:never mind|forget(?: about)?|skip|ignore) (?!.*\b(?:upload|photo|picture|image|attachment)\b)|"
    r"i (?:don'?t|do not) want (?:it|you)\b|"
    r"(?:nothing|everything|all) else\b|only that\b|"
    r"(?:behalte|behalt|bewahre|lass(?:e|t)?\b.*\b(?:wie|unverändert|so)\b|ohne\b.*\bzu\b|nicht\b|sonst nichts)|"
    r"(?:garde[rz]? (?!seulement)|conserve[rz]?|ne\b.*\bpas|sans \w+(?:er|ir)\b|sans toucher)|"
    r"(?:mantén|conserva|no\s+(?:recortes|cambies|toques)|sin\s+\w+[aei]r\b)|"
    r"(?:保持|不要(?:裁|改|动)|别(?:裁|改|动)|不用|其他不变))",
    re.IGNORECASE,
)
_INNER = re.compile(
    r"\b(?:without (?=\w+ing\b)|while (?:keeping|preserving|leaving|maintaining)|"
    r"ohne\b(?=.*\bzu\b)|sans (?=\w+(?:er|ir)\b)|"
    r"sin (?=\w+r\b))[^,.;]*",
    re.IGNORECASE,
)
# "Don't enlarge it until it is sharp" asks for both.
_HOLDS_BACK = re.compile(
    r"\b(?:until|till|before|unless)\b(?! (?:this|that)\b)|\bbut (?:only|rather|instead)\b|\bonly (?=\w)|\bbis\b",
    re.IGNORECASE,
)
_FORBIDS = re.compile(
    r"\b(?:do not|don'?t|never|avoid|without|no|not|forget|skip|nicht|ohne|kein\w*|pas|sans|sin)\b|不要|别|不用",
    re.IGNORECASE,
)
_ACTS = (
    ("crop", r"\bcrop|\btrim|zuschneid|beschneid|recadr|rogn|recort|裁"),
    ("resize", r"\bresiz|change the (?:size|dimensions)|\bshrink|größe ändern|redimension|改变尺寸"),
    ("upscale", r"\bupscal|\benlarg|vergrößer|agrand|ampli|放大"),
    ("deblur", r"\bsharpen|schärf|affûter|enfocar|锐化"),
    ("denoise", r"\bdenois|\bsmooth(?:ing)? (?:out )?the grain|entrausch"),
    ("rotate", r"\brotat|\bflip|\bstraighten|drehen|tourner|girar|旋转"),
    ("color_correct", r"\b(?:re)?colou?r|\bbrighten|\bdarken|black and white|contrast|farb|couleur|color|颜色"),
    ("retouch", r"\bretouch|\bskin|\bfilters?\b|retusch"),
    ("blur_background", r"\bblur"),
    ("replace_background", r"\b(?:change|replace|touch) the background|hintergrund|arrière-plan|fondo|背景"),
    ("style_transfer", r"\bstyle|\bstil\b|\bestilo"),
    ("extend", r"\bextend|\boutpaint|\bexpand"),
    ("remove_object", r"\bremov|\bdelete|entfern|enlev|quit"),
)  # fmt: skip


def limits(goal: str) -> tuple[str, ...]:
    """The parts of the goal, in its own words, that limit what may be done; empty where there is none."""
    found: list[str] = []
    for part in _PARTS.split(goal):
        said = part.strip(" .\"'-–")
        if _LIMIT.search(said):
            found.append(re.sub(r"^(?:and|und|et|y)\s+", "", said, flags=re.IGNORECASE))
        else:
            found += [inner[0].strip() for inner in _INNER.finditer(said)]
    return tuple(found)


def without_limits(goal: str) -> str:
    """The goal with its limits blanked by as many spaces, so that what they rule out is not taken for a wish.

    A goal of nothing but limits, and one whose verb stands behind one in the same part, stays as it is.
    """
    left, start = list(goal), 0
    for joint in [*_PARTS.finditer(goal), None]:
        end = joint.start() if joint else len(goal)
        part = goal[start:end]
        bare = part.strip(" .\"'-–")
        spans = (
            [(start, end)]
            if _LIMIT.search(bare)
            else [(start + m.start(), start + m.end()) for m in _INNER.finditer(part)]
        )
        for first, last in spans if not _HOLDS_BACK.search(bare) else []:
            left[first:last] = " " * (last - first)
        start = joint.end() if joint else end
    found = "".join(left)
    return found if re.search(r"\w{2}", found) and len(re.findall(r"\w+", found)) > found.count(" but ") else goal


def forbidden(said: tuple[str, ...], wanted: tuple[str, ...]) -> tuple[str, ...]:
    """The operations that the limits forbid by name, but for those that the goal wants."""
    denied = " ; ".join(part for part in said if _FORBIDS.search(part))
    names = [name for name, words in _ACTS if re.search(words, denied, re.IGNORECASE)]
    return tuple(name for name in names if name not in wanted)
