"""Named sets of preferences, such as a brand's, read from TOML; every fault named by its file and field.

[acme]
palette = ["#0b3d91", "#f2a900"]      colours for what is drawn, and for grounds that a goal leaves open
styles = ["flat vector"]              style of what is drawn or painted, where the goal names none
platforms = ["instagram-post"]        sizes of results, where the goal names none: one result for each
format = "webp"                       file format, where neither caller nor goal says
[acme.watermark]
image = "acme.png"                    beside the TOML file
corner = "bottom-right"  width = 0.2  opacity = 0.6
"""

import hashlib
import tomllib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from PIL import ImageColor
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from diptych.errors import FieldViolation
from diptych.v1 import editor_pb2 as editor
from diptych.v1 import image_pb2
from services.orchestrator.planning.colors import color_in

Color = Annotated[str, StringConstraints(pattern=r"^#[0-9a-fA-F]{6}$")]
Words = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
Corner = Literal["center", "top-left", "top-right", "bottom-left", "bottom-right"]

_MOST_WATERMARK_BYTES = 8 * 2**20
_COLOR_WORDS = (
    "black", "white", "gray", "red", "orange", "yellow", "gold", "green", "teal", "blue", "navy", "purple", "pink",
    "brown", "beige", "turquoise", "maroon", "olive", "coral",
)  # fmt: skip


class ProfilesError(ValueError):
    """A profile file that does not read as one; each line of the message names file and field."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Watermark(_Part):
    """A picture laid over every result. `width`: its share of the result's."""

    image: Path
    corner: Corner = "bottom-right"
    width: float = Field(0.2, gt=0, le=1)
    opacity: float = Field(0.6, gt=0, le=1)


class Profile(_Part):
    """One set of preferences; `name` is the table's, `folder` the file's."""

    name: Name
    folder: Path = Field(exclude=True)
    palette: tuple[Color, ...] = Field((), max_length=8)
    styles: tuple[Words, ...] = Field((), max_length=8)
    platforms: tuple[Words, ...] = Field((), max_length=8)
    format: Literal["png", "jpeg", "webp", "avif"] | None = None
    watermark: Watermark | None = None

    @cached_property
    def watermark_image(self) -> image_pb2.Image | None:
        """The watermark's file as it was found at the start."""
        if self.watermark is None:
            return None
        return image_pb2.Image(content=(self.folder / self.watermark.image).read_bytes())

    @cached_property
    def watermark_sha256(self) -> str:
        """What plans call the watermark."""
        picture = self.watermark_image
        return hashlib.sha256(picture.content).hexdigest() if picture is not None else ""

    def prompt(self, prompt: str) -> str:
        """The prompt in the brand's style and colours, where it names none itself."""
        if self.styles and not any(style.lower() in prompt.lower() for style in self.styles) and "style" not in prompt:
            prompt = f"{prompt}, {self.styles[0]} style"
        if self.palette and color_in(prompt.replace(",", " ")) is None:
            names = list(dict.fromkeys(color_word(color) for color in self.palette))[:3]
            prompt = f"{prompt}, in {' and '.join(names)}"
        return prompt

    def mark(self) -> editor.Operation:
        """The edit that lays the watermark over a picture."""
        if self.watermark is None:
            raise LookupError(f"profile {self.name!r} has no watermark")
        operation = editor.Operation()
        laid = operation.composite
        laid.overlay.SetInParent()
        laid.anchor = editor.Anchor.Value(f"ANCHOR_{self.watermark.corner.upper().replace('-', '_')}")
        laid.relative_width, laid.opacity = self.watermark.width, self.watermark.opacity
        return operation


def color_word(color: str) -> str:
    """The plain word nearest to "#rrggbb"."""

    def distance(word: str) -> float:
        (r, g, b), (x, y, z) = ImageColor.getrgb(word)[:3], ImageColor.getrgb(color)[:3]
        mean = (r + x) / 2  # weights of the "redmean" approximation of perceived difference
        return (2 + mean / 256) * (r - x) ** 2 + 4 * (g - y) ** 2 + (2 + (255 - mean) / 256) * (b - z) ** 2

    return min(_COLOR_WORDS, key=distance)


def read_profiles(path: Path | None) -> dict[str, Profile]:
    """The profiles of a TOML file, or of all `*.toml` in a folder. ProfilesError with every fault."""
    if path is None:
        return {}
    files = sorted(path.glob("*.toml")) if path.is_dir() else [path]
    found: dict[str, Profile] = {}
    faults: list[str] = []
    for file in files:
        try:
            tables = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            faults.append(f"{file.name}: {error}")
            continue
        for name, table in tables.items():
            if name in found:
                faults.append(f"{file.name}: {name}: is defined a second time")
            else:
                found |= _one(file, name, table, faults)
    if faults:
        raise ProfilesError("\n".join(faults))
    return found


def unknown_profile(name: str, profiles: Mapping[str, Profile]) -> FieldViolation:
    """What is said when a goal names a profile that there is not."""
    known = f"choose one of {', '.join(sorted(profiles))}" if profiles else "this server has none (see --profiles)"
    return FieldViolation("goal.profile", f"{name[:64]!r} is not a profile of this server; {known}")


def _one(file: Path, name: str, table: object, faults: list[str]) -> dict[str, Profile]:
    if not isinstance(table, dict):
        faults.append(f"{file.name}: {name}: is a value; write a table [{name}]")
        return {}
    try:
        profile = Profile(**{**table, "name": name, "folder": file.parent})
    except ValidationError as error:
        for fault in error.errors(include_url=False):
            faults.append(f"{file.name}: {_path(name, fault['loc'])}: {_plain(fault['msg'])}")
        return {}
    if profile.watermark is not None and (why := _watermark_fault(file.parent / profile.watermark.image)):
        faults.append(f"{file.name}: {name}.watermark.image: {why}")
        return {}
    return {name: profile}


def _path(name: str, places: tuple[int | str, ...]) -> str:
    return name + "".join(f"[{place}]" if isinstance(place, int) else f".{place}" for place in places)


def _plain(message: str) -> str:
    if "#[0-9a-fA-F]" in message:
        return "is not a colour #rrggbb"
    return message[:1].lower() + message[1:]


def _watermark_fault(file: Path) -> str:
    if not file.is_file():
        return f"{file.name} is not there"
    if file.stat().st_size > _MOST_WATERMARK_BYTES:
        return f"{file.name} has {file.stat().st_size} bytes; at most {_MOST_WATERMARK_BYTES}"
    return ""
