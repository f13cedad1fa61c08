# ruff: noqa: RUF001 - a multiplication sign is meant
"""Several sizes that one goal names: "for instagram post, story and a linkedin banner", "1:1 and 9:16"."""

import re
from collections.abc import Sequence

from services.orchestrator.planning.wanted import Value

_PLATFORM = (
    r"instagram|insta|facebook|linkedin|youtube|twitter|tiktok|pinterest|snapchat|threads|mastodon|bluesky|whatsapp|"
    r"discord|twitch|etsy|shopify|ebay|amazon"
)
_TYPE = (
    r"posts?|stor(?:y|ies)|reels?|squares?|portraits?|landscapes?|profiles?|(?:company |landing )?covers?|banners?|"
    r"headers?|events?|thumbnails?|shorts?|videos?|pins?|feed|status"
)
_SAID = re.compile(
    rf"\b(?P<platform>{_PLATFORM})\b(?:\s+(?P<type>{_TYPE})\b)?|(?:,|\band|&|\+)\s*(?:an?\s+|the\s+)?(?P<more>{_TYPE})\b",
    re.IGNORECASE,
)
_ASPECT = re.compile(r"(?<![\d:.])(\d{1,2})\s?:\s?(\d{1,2})(?![\d:.])")
_SIZE = re.compile(r"(?<![\d.])(\d{2,5})\s*(?:px)?\s*[x×]\s*(\d{2,5})(?![\d.])", re.IGNORECASE)
_CHANGE = re.compile(r"\bfrom\b.*\bto\b|\binto\b|\bvon\b.*\b(?:auf|nach|zu)\b", re.IGNORECASE)
_ANY = re.compile(rf"\b(?:{_PLATFORM})\b|{_ASPECT.pattern}|{_SIZE.pattern}", re.IGNORECASE)
_BETWEEN = " | "


def formats_said(goal: str, least: int = 2) -> str:
    """The sizes that a goal names, when there are at least so many: platforms, aspects or pixels, in its order."""
    platforms: list[str] = []
    platform = ""
    for said in _SAID.finditer(goal):
        platform = (said["platform"] or platform).lower()
        kind = _singular((said["type"] or said["more"] or "").lower())
        if platform:
            platforms.append(f"{platform} {kind}".strip())
    pixels = [f"{wide}x{tall}" for wide, tall in _SIZE.findall(goal)]
    aspects = [] if _CHANGE.search(goal) else [f"{wide}:{tall}" for wide, tall in _ASPECT.findall(goal)]
    # "A 16:9 youtube thumbnail" is one size, told twice.
    for named in (pixels, platforms, aspects):
        if len(each := list(dict.fromkeys(named))) >= least:
            return _BETWEEN.join(each)
    return ""


def last_aspect(text: str) -> str:
    """The aspect that a change ends with, "from 4:3 to 16:9"; empty when no change is told."""
    found = _ASPECT.findall(text)
    return ":".join(found[-1]) if len(found) > 1 and _CHANGE.search(text) else ""


def speaks_of_formats(words: str) -> bool:
    """Whether words that were taken for a thing or a picture name a size."""
    return _ANY.search(words) is not None


def without_formats(prompt: str) -> str:
    """What is to be drawn, without the sizes that it is wanted in."""
    found = _SAID.search(prompt)
    before = prompt[: found.start()] if found is not None and found["platform"] else prompt
    return re.sub(r"(?:[\s,]|\b(?:as|for|in|an?|the|als|für|pour|para)\b)+$", "", before, flags=re.IGNORECASE) or prompt


def each_of(said: str) -> Sequence[tuple[str, dict[str, Value]]]:
    """What `formats_said` wrote, as the operation and the slots for each."""
    made: list[tuple[str, dict[str, Value]]] = []
    for one in filter(None, said.split(_BETWEEN)):
        if size := _SIZE.fullmatch(one):
            made.append(("resize", {"width": int(size[1]), "height": int(size[2])}))
        elif _ASPECT.fullmatch(one):
            made.append(("crop", {"aspect": one}))
        else:
            made.append(("resize", {"platform": one}))
    return made


def _singular(word: str) -> str:
    if word.endswith("ies"):
        return f"{word[:-3]}y"
    return word[:-1] if word.endswith("s") and word != "status" else word
