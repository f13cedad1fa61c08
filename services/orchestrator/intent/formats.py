# ruff: noqa: RUF001 - the marks of other scripts are meant
"""The file format that a goal names: "as a JPEG", "guárdalo como webp", "保存为png"."""

import re

_NAME = r"(?<![A-Za-z.])(?P<name>png|jpe?g|webp|avif|gif|mp4)(?![A-Za-z])"
_NAMED = re.compile(
    rf"(?:\b(?:as|in|to|into|als|im|en|au format|como|a|al|format|export\w*|save\w*|deliver\w*|transparent\w*|"
    rf"(?:ab)?speicher\w*|enregistr\w*|guard\w*|guárd\w*)\b|存|导出|输出|格式)[^.。]{{0,24}}?{_NAME}",
    re.IGNORECASE,
)
_SAVING = (
    r"(?:save|export|store|deliver|output|hand over|send)\b|(?:ab)?speicher\w*|exportier\w*|sichere?\b|"
    r"(?:enregistr|sauvegard|export)\w*|(?:gu[aá]rd|exp[oó]rt)\w*|(?:另存|保存|导出|输出|存)"
)
# A part that tells how the result is written and nothing else: no size, and nothing about transparency or motion.
_WRITTEN = re.compile(
    rf"(?:^|[,;.\n，。；、]\s*|\s(?=(?:and|then|und|dann|et|puis|y|luego)\s))"
    rf"(?:(?:and|then|finally|und|dann|et|puis|enfin|y|luego|please|bitte|por favor)\s+|[并再请最后然\s])*"
    rf"(?:(?:{_SAVING})(?:(?!transparen|freigestellt|透明|\s(?:and|und|et|y)\s)[^\d,;.，。；]){{0,28}}?|"
    rf"(?:(?:as|in|als|en|como|format|file type|datei)\b:?\s*)?(?:an?\s|ein\s|un\s)?)"
    rf"(?<![A-Za-z.])(?P<name>png|jpe?g|webp|avif)(?![A-Za-z])"
    rf"(?:[- ]?(?:format|file|datei|格式))?(?:,?\s(?:please|bitte|por favor|thanks))?"
    rf"(?=\s*(?:[,;.!?\n，。；！]|$|(?:and|then|und|dann|et|puis|y|luego)\s))",
    re.IGNORECASE,
)


def named(clause: str) -> str | None:
    """The format that these words name, or None."""
    found = _NAMED.search(clause)
    return _known(found["name"]) if found else None


def mentioned(text: str) -> str | None:
    """The format whose name stands anywhere in words that are about a file alone, or None."""
    found = re.search(_NAME, text, re.IGNORECASE)
    return _known(found["name"]) if found else None


def written(goal: str) -> tuple[str, str | None]:
    """The goal with a part like "and save it as JPG" blanked by as many spaces, and the format that it names.

    Such a part asks for no operation. A goal of nothing else stays as it is.
    """
    found = _WRITTEN.search(goal)
    if found is None:
        return goal, None
    left = goal[: found.start()] + " " * len(found[0]) + goal[found.end() :]
    return (left, _known(found["name"])) if re.search(r"\w", left) else (goal, None)


def _known(name: str) -> str:
    return name.lower().replace("jpg", "jpeg")
