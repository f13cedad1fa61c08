"""Another size, in pixels or by the name of a platform."""

import difflib
import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diptych.images import Pixels
from diptych.v1 import editor_pb2
from services.editor.context import EditContext
from services.editor.cutting.matting import subject_box
from services.editor.faults import Faults
from services.editor.operations.crop import largest
from services.editor.pixels.resampling import resample

_MOST_SIDE = 16_384
_MOST_SCALE = 8.0
_COVER = editor_pb2.FIT_MODE_COVER


@dataclass(frozen=True)
class Parameters:
    """`scale`, or one or both sides in pixels."""

    width: int | None
    height: int | None
    scale: float | None
    fit: int
    platform: str
    either_way: bool = False


@functools.cache
def platforms() -> Mapping[str, tuple[int, int]]:
    """Width and height of each named size."""
    table = tomllib.loads(Path(__file__).with_name("platforms.toml").read_text(encoding="utf-8"))
    return {name: (size["width"], size["height"]) for name, size in table.items()}


@functools.cache
def _names() -> Mapping[str, str]:
    """The name of the size for each way of writing it."""
    table = tomllib.loads(Path(__file__).with_name("platforms.toml").read_text(encoding="utf-8"))
    return {_plain(word): name for name, size in table.items() for word in (name, *size.get("also", ()))}


def find_platform(words: str) -> str | None:
    """The name of the size that was meant by "Insta story" or "YT thumbnail"; None if there is none such."""
    plain = _plain(words)
    return next((name for word in (plain, plain.removesuffix("s")) if (name := _names().get(word))), None)


def _plain(words: str) -> str:
    """Words as they are compared: small letters, figures and colons alone."""
    return "".join(letter for letter in words.casefold() if letter.isalnum() or letter == ":")


def read(message: editor_pb2.Resize, faults: Faults) -> Parameters:
    """The parameters; one way of saying the size is required."""
    pixels = [name for name in ("width", "height") if message.HasField(name)]
    ways = [*pixels[:1], *(["platform"] if message.platform else []), *(["scale"] if message.HasField("scale") else [])]
    if not ways:
        faults.add("does not say a size; give width or height, platform, or scale")
    if len(ways) > 1:
        (faults / ways[1]).add(f"is given together with {ways[0]}; give only one")
    sides = {name: round(faults.number(message, name, 1, _MOST_SIDE, 1)) for name in pixels}
    scale = faults.number(message, "scale", 0, _MOST_SCALE, 1, open_low=True) if message.HasField("scale") else None
    platform = find_platform(message.platform) if message.platform else ""
    if platform is None:
        near = difflib.get_close_matches(message.platform.lower(), platforms(), n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        (faults / "platform").add(f"is {message.platform[:40]!r}; {hint}known are {', '.join(sorted(platforms()))}")
    elif platform:
        sides = dict(zip(("width", "height"), platforms()[platform], strict=True))
    if message.either_way and len(pixels) != 2:
        (faults / "either_way").add("goes with width and height; give both, or leave it out")
    fit = faults.choice(message, "fit", editor_pb2.FitMode.values()) or _COVER
    return Parameters(sides.get("width"), sides.get("height"), scale, fit, platform or "", message.either_way)


async def apply(image: Pixels, parameters: Parameters, context: EditContext) -> Pixels:
    """The picture at exactly the wanted size."""
    height, width = image.shape[:2]
    field = (
        "scale"
        if parameters.scale
        else "platform"
        if parameters.platform
        else "width"
        if parameters.width
        else "height"
    )
    if parameters.scale is not None:
        new_width, new_height = round(width * parameters.scale), round(height * parameters.scale)
    else:
        new_width = parameters.width or max(1, round(width * (parameters.height or height) / height))
        new_height = parameters.height or max(1, round(height * new_width / width))
        if parameters.either_way and (width - height) * (new_width - new_height) < 0:
            new_width, new_height = new_height, new_width
    context.check_size(new_width, new_height, field)
    both = parameters.width is not None and parameters.height is not None
    fit = parameters.fit if both else editor_pb2.FIT_MODE_STRETCH
    context.note(width=new_width, height=new_height)
    if both:
        context.note(fit=editor_pb2.FitMode.Name(editor_pb2.FitMode.ValueType(fit)))
    if parameters.platform:
        context.note(platform=parameters.platform)
    context.method("lanczos", "pillow")
    if fit == editor_pb2.FIT_MODE_CONTAIN:
        return await context.compute(_contain, image, new_width, new_height)
    if fit in (_COVER, editor_pb2.FIT_MODE_SUBJECT):
        centre = (width / 2, height / 2)
        if fit == editor_pb2.FIT_MODE_SUBJECT and width * new_height != height * new_width:
            box = await subject_box(image, context)
            centre = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) if box is not None else centre
        image = _cover(image, new_width / new_height, centre)
    return await context.compute(resample, image, new_width, new_height)


def _cover(image: Pixels, aspect: float, centre: tuple[float, float]) -> Pixels:
    """The largest part of the aspect, as near to `centre` (x, y) as it can lie."""
    height, width = image.shape[:2]
    kept_width, kept_height = largest(width, height, aspect)
    left = min(max(0, round(centre[0] - kept_width / 2)), width - kept_width)
    top = min(max(0, round(centre[1] - kept_height / 2)), height - kept_height)
    return np.ascontiguousarray(image[top : top + kept_height, left : left + kept_width])


def _contain(image: Pixels, width: int, height: int) -> Pixels:
    """The whole picture in the middle; around it transparent, or white where there is no alpha."""
    share = min(width / image.shape[1], height / image.shape[0])
    inner_width = min(width, max(1, round(image.shape[1] * share)))
    inner_height = min(height, max(1, round(image.shape[0] * share)))
    result = np.full((height, width, image.shape[2]), 0 if image.shape[2] == 4 else 255, np.uint8)
    left, top = (width - inner_width) // 2, (height - inner_height) // 2
    result[top : top + inner_height, left : left + inner_width] = resample(image, inner_width, inner_height)
    return result
