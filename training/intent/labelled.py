"""Goals labelled by hand: the project's own text files and JSON lines of others."""

import json
from pathlib import Path
from typing import Any

from services.orchestrator.intent import Intent
from services.orchestrator.intent.intent import route_of

GOALS = Path(__file__).parents[2] / "tests" / "unit" / "services" / "orchestrator" / "intent"
Plan = tuple[str, tuple[str, ...]]
Detail = tuple[str, str, str]  # operation, slot, value as it is written in the file


def _lines(path: Path) -> list[tuple[str, bool, str]]:
    """Text, whether an image is attached, and what stands after "=>", of each line that is no comment."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            text, label = line[2:].rsplit(" => ", 1)
            found.append((text, line[0] == "+", label))
    return found


def texts(path: Path) -> list[str]:
    """The goals of a text file like goals.txt, without their labels."""
    return [text for text, _, _ in _lines(path)]


def own(path: Path) -> list[tuple[str, bool, list[Plan]]]:
    """Goals of a text file like goals.txt: text, whether an image is attached, the plans that are right."""
    found = []
    for text, has_image, label in _lines(path):
        plans = [() if way == "ask" else tuple(way.split(", ")) for way in label.split(" or ")]
        found.append((text, has_image, [(route_of(names), names) for names in plans]))
    return found


def others(path: Path) -> list[tuple[str, bool, list[Plan], dict[str, Any]]]:
    """Goals of a JSON-lines file; "accept" lists further right plans. Last, the whole entry."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        item: dict[str, Any] = json.loads(line)
        right = [(label["route"], tuple(label["operations"])) for label in [item, *item.get("accept", [])]]
        found.append((item["text"], item["has_image"], right, item))
    return found


def details(path: Path) -> list[tuple[str, bool, list[Detail]]]:
    """Goals of slot_goals.txt with the details that they name."""
    found = []
    for text, has_image, label in _lines(path):
        named = []
        for part in label.split("; "):
            where, value = part.split("=", 1)
            operation, slot = where.split(".")
            named.append((operation, slot, value))
        found.append((text, has_image, named))
    return found


def detail_holds(intent: Intent, operation: str, slot: str, value: str) -> bool:
    """True where the intent has this detail. ">0" and "<0" ask for a sign, a word for itself or a longer wording."""
    slots = next((found.slots for found in intent.operations if found.name == operation), {})
    if slot not in slots:
        return False
    said = slots[slot]
    if isinstance(said, str):
        return value.lower() in said.lower()
    if value in (">0", "<0"):
        return (said > 0) == (value == ">0") and said != 0
    return abs(float(value) - said) < 1e-6
