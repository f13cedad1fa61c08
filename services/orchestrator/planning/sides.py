"""What a goal says of a picture's sides: cut off so much, keep this half, add so many pixels, a border."""

import re
from collections.abc import Mapping

from services.orchestrator.planning.colors import color_in
from services.orchestrator.planning.wanted import Value

_SIDES = ("left", "top", "right", "bottom")
_SIDE = r"(?P<side>left|right|top|bottom|upper|lower)(?:[- ]hand)?(?: side| edge)?"
_MANY = r"(?P<many>(?:all|each|every|both)(?: \w+)? (?:sides?|edges?)|the (?:sides|edges)|all around)"
_AMOUNT = r"(?P<amount>\d{1,5}(?:\.\d+)?)\s*(?P<unit>px|pixels?|%|percent)"
_OFF = re.compile(rf"{_AMOUNT}\s+(?:off|from|of)(?: of)?\s+(?:(?:the|its)\s+)?(?:{_SIDE}|{_MANY})", re.IGNORECASE)
_PART = re.compile(
    rf"\b{_SIDE}\s+(?:(?P<share>half|third|quarter|two thirds|three quarters)\b|{_AMOUNT}(?!\w))", re.IGNORECASE
)
_SHARES = {"half": 0.5, "third": 1 / 3, "quarter": 0.25, "two thirds": 2 / 3, "three quarters": 0.75}
_TAKES_AWAY = re.compile(
    r"\b(?:off|away|out|remove|trim|chop|slice|shave|lose|delete|drop|without|get rid of|discard)\b", re.IGNORECASE
)
_OTHER = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}
_SAME = {"upper": "top", "lower": "bottom"}
_PIXELS = re.compile(r"\b(\d{1,4})\s*-?\s*(?:px|pixels?|pixeln?|píxeles)\b", re.IGNORECASE)
_BORDER = re.compile(
    r"^(?:[\w#]+[ -]){0,4}?(?:borders?|frame|margins?|padding|rahmen|rand|bordure|cadre|borde|marco)$|边框",
    re.IGNORECASE,
)
_ROOM = re.compile(
    r"\b([\w#]+(?:[ -][\w#]+)?)[ -](?:borders?|frame|margins?|padding|space|bars|canvas|rahmen|rand|bordure|cadre|"
    r"borde|marco)\b",
    re.IGNORECASE,
)
_BORDER_PIXELS = 32


def trim_said(text: str) -> str:
    """What is taken off the sides, as `bottom 10%, left 20px`; empty when nothing is said of it."""
    if found := _OFF.search(text):
        amount = _amount(found)
        sides = _several(found["many"]) if found["many"] else (_side(found),)
        return ", ".join(f"{side} {amount}" for side in sides)
    found = _PART.search(text)
    if found is None:
        return ""
    side = _side(found)
    if _TAKES_AWAY.search(text[: found.start()]):
        return f"{side} {_amount(found)}"
    share = _SHARES[found["share"].lower()] if found["share"] else _kept(found)
    return f"{_OTHER[side]} {100 * (1 - share):.4g}%" if share is not None and 0 < share < 1 else ""


def trim_of(said: str) -> tuple[dict[str, float], bool]:
    """What `trim_said` wrote, by side, and whether it is in shares of the sides; empty when it is no such thing."""
    parts = re.findall(r"(left|top|right|bottom) (\d+(?:\.\d+)?)(%|px)", said)
    relative = any(unit == "%" for _, _, unit in parts)
    return {side: float(amount) / (100 if relative else 1) for side, amount, _ in parts}, relative


def room_said(text: str) -> Mapping[str, Value]:
    """`pixels` and `color` of new canvas, as far as they are said."""
    found: dict[str, Value] = {}
    if pixels := _PIXELS.search(text):
        found["pixels"] = int(pixels[1])
    if (said := _ROOM.search(text)) and (color := color_in(said[1])) is not None:
        found["color"] = color
    return found


def border_said(thing: str, text: str) -> Mapping[str, Value] | None:
    """The new canvas that a border is; None when the thing to add is none."""
    if not _BORDER.search(thing.strip()):
        return None
    return {"pixels": _BORDER_PIXELS, "color": color_in(thing) or "#ffffff", **room_said(text), "direction": "all"}


def _several(said: str) -> tuple[str, ...]:
    return ("left", "right") if re.search(r"\bboth\b|^the sides", said, re.IGNORECASE) else _SIDES


def _side(found: re.Match[str]) -> str:
    side = found["side"].lower()
    return _SAME.get(side, side)


def _amount(found: re.Match[str]) -> str:
    groups = found.groupdict()
    if groups.get("share"):
        return f"{100 * _SHARES[groups['share'].lower()]:.4g}%"
    return f"{found['amount']}{'px' if found['unit'].lower().startswith('p') and found['unit'][1:2] in 'xi' else '%'}"


def _kept(found: re.Match[str]) -> float | None:
    """The share that is kept; None for pixels: how many that leaves is not known here."""
    return float(found["amount"]) / 100 if found["unit"] == "%" or found["unit"].lower() == "percent" else None
