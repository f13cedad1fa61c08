"""Collects every fault of a request, each under its path, before anything is refused."""

import math
import re
from collections.abc import Container
from typing import Any

from diptych.errors import FieldViolation, InvalidRequest

_COLOR = re.compile(r"#[0-9a-fA-F]{6}")
_ASPECT = re.compile(r"(\d{1,5}(?:\.\d{1,3})?):(\d{1,5}(?:\.\d{1,3})?)")


class Faults:
    """A place in a request, such as `spec.operations[2].upscale`, and the faults found at and below it."""

    def __init__(self, path: str, found: list[FieldViolation] | None = None) -> None:
        self.path = path
        self._found = found if found is not None else []

    def __truediv__(self, name: str) -> "Faults":
        """The place one field deeper; its faults are found here too."""
        return Faults(f"{self.path}.{name}" if self.path else name, self._found)

    def item(self, index: int) -> "Faults":
        """The place of one element of a repeated field."""
        return Faults(f"{self.path}[{index}]", self._found)

    def add(self, description: str) -> None:
        """Records a fault of this place."""
        self._found.append(FieldViolation(self.path, description))

    def raise_any(self) -> None:
        """Raises InvalidRequest with all faults found so far, if there are any."""
        if self._found:
            raise InvalidRequest(self._found)

    def number(
        self, message: Any, name: str, low: float, high: float, default: float, *, open_low: bool = False
    ) -> float:
        """The optional number `name` of `message`, or `default`; out of range, infinite or NaN is a fault."""
        if not message.HasField(name):
            return default
        value = float(getattr(message, name))
        inside = math.isfinite(value) and low <= value <= high and not (open_low and value == low)
        if not inside:
            bounds = f"more than {low:g} and at most {high:g}" if open_low else f"{low:g} to {high:g}"
            (self / name).add(f"is {value:g}; give {bounds}")
            return default
        return value

    def color(self, message: Any, name: str) -> tuple[int, int, int] | None:
        """The colour `#rrggbb` in `name` as red, green, blue; None when empty or at fault."""
        text = getattr(message, name)
        if not text:
            return None
        if not _COLOR.fullmatch(text):
            (self / name).add(f"is {text[:20]!r}; give a colour as #rrggbb, such as #ff8800")
            return None
        return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)

    def aspect(self, text: str) -> float:
        """Width over height from `W:H`; 1 when at fault."""
        match = _ASPECT.fullmatch(text)
        if match is None or not float(match[1]) or not float(match[2]):
            self.add(f"is {text[:20]!r}; give width and height as W:H, such as 16:9")
            return 1.0
        return float(match[1]) / float(match[2])

    def choice(self, message: Any, name: str, known: Container[int]) -> int:
        """The enum number in `name`; a number without a name is a fault."""
        value = int(getattr(message, name))
        if value not in known:
            (self / name).add(f"has no value {value}; use one that the contract names")
        return value
