"""The styles that are known by name, and which of them a caller's words mean."""

import difflib
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

from services.editor.pixels.color_spaces import Floats

Palette = Literal["own", "photo", "grey"]

STYLES_OF_NETWORK = 26


@dataclass(frozen=True)
class NamedStyle:
    """`blend` (26,) float32 sums to 1, None where `drawing` names an arithmetic; `also` are other words for it."""

    name: str
    blend: Floats | None
    drawing: str
    palette: Palette
    also: tuple[str, ...]


@cache
def named_styles() -> dict[str, NamedStyle]:
    """All of `styles.toml`, by name."""
    file = Path(__file__).with_name("styles.toml")
    return {name: _style(name, entry) for name, entry in tomllib.loads(file.read_text(encoding="utf-8")).items()}


def find_style(words: str) -> NamedStyle | None:
    """The style of that name, else the one whose longest other word the words contain; None if none fits."""
    styles = named_styles()
    said = " ".join(re.split(r"[\s_]+", words.strip().lower()))
    if (exact := styles.get(said.replace(" ", "-"))) is not None:
        return exact
    fitting = [
        (len(word), style)
        for style in styles.values()
        for word in (style.name.replace("-", " "), *style.also)
        if _contains(said.replace("-", " "), word.replace("-", " "))
    ]
    return max(fitting, key=lambda one: one[0])[1] if fitting else None


def _contains(said: str, word: str) -> bool:
    """Whether the word stands in what was said, whole where the script has spaces between words."""
    return re.search(rf"\b{re.escape(word)}\b" if word.isascii() else re.escape(word), said) is not None


def similar_styles(words: str) -> list[str]:
    """At most three names that are spelled like the words, or that other words spelled like them stand for."""
    known = {word: style.name for style in named_styles().values() for word in (style.name, *style.also)}
    near = difflib.get_close_matches(words.strip().lower(), known, n=5, cutoff=0.6)
    return list(dict.fromkeys(known[word] for word in near))[:3]


def _style(name: str, entry: dict[str, object]) -> NamedStyle:
    shares, palette, also, drawing = entry.get("blend"), entry["colors"], entry["also"], entry.get("drawing", "")
    if (
        not isinstance(also, list)
        or palette not in ("own", "photo", "grey")
        or isinstance(shares, dict) == bool(drawing)
    ):
        raise ValueError(f"styles.toml: {name} wants blend or drawing, colors (own, photo or grey) and also")
    known: Palette = "own" if palette == "own" else "photo" if palette == "photo" else "grey"
    return NamedStyle(name, _blend(shares), str(drawing), known, tuple(str(word) for word in also))


def _blend(shares: object) -> Floats | None:
    if not isinstance(shares, dict):
        return None
    blend = np.zeros(STYLES_OF_NETWORK, np.float32)
    for number, share in shares.items():
        blend[int(number)] = share
    result: Floats = blend / blend.sum()
    return result
