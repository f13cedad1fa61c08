# ruff: noqa: RUF001 - a multiplication sign is meant
"""Typed actions filled from what was read out of a goal. Values over a limit of the contract are brought to it.

Each filler leaves a field unset where the goal says nothing, so that the service's own default holds.
"""

import math
import re
from collections.abc import Callable, Mapping

from google.protobuf.duration_pb2 import Duration

from diptych import labels
from diptych.v1 import editor_pb2 as editor
from diptych.v1 import generator_pb2 as generator
from services.orchestrator.planning.colors import color_in, color_of, gradient_of
from services.orchestrator.planning.sides import trim_of

Slots = Mapping[str, str | float | int]

_MAX_SIDE = 16384
_MAX_SCALE = 8.0
_MAX_PROMPT_BYTES = 4096
_DIRECTIONS: dict[str, tuple[str, ...]] = {"left": ("left",), "right": ("right",), "up": ("top",), "down": ("bottom",)}
_DIRECTIONS |= {"top": ("top",), "bottom": ("bottom",), "horizontal": ("left", "right"), "vertical": ("top", "bottom")}
_DIRECTIONS |= {"all": ("left", "top", "right", "bottom")}
_MOST_FEATHER = 200.0
_MOST_CHARACTERS = 500
_AIMED = frozenset({"color_correct", "crop", "remove_object", "replace_object"})
# Around a face a portrait needs room; of other things the service's own default holds.
_FACE_MARGIN = 0.5
_EXTENSION_PIXELS, _MOST_EXTENSION = 256, 8192
# What a platform's bare name means; other names are the editor's own.
_PLATFORMS = {
    "amazon": "amazon-product",
    "discord": "discord-banner",
    "ebay": "ebay-product",
    "etsy": "etsy-listing",
    "facebook": "facebook-post",
    "instagram": "instagram-post",
    "linkedin": "linkedin-post",
    "pinterest": "pinterest-pin",
    "shopify": "shopify-product",
    "snapchat": "snapchat-story",
    "tiktok": "tiktok-video",
    "twitch": "twitch-banner",
    "twitter": "x-post",
    "whatsapp": "whatsapp-status",
    "x": "x-post",
    "youtube": "youtube-thumbnail",
}
# Degrees clockwise from top to bottom.
_LEFT_TO_RIGHT = -90
_ASSUMED_BACKGROUND = "#ffffff"
_ASSUMED_SIZE = 0.5
_ASSUMED_STYLE = "painting"
_SEPIA = "#704214"
_ASPECT = re.compile(r"(\d+(?:\.\d+)?)\s*(?:[:/x]|to)\s*(\d+(?:\.\d+)?)")
_ASPECT_WORDS = {"square": "1:1", "quadratisch": "1:1", "carré": "1:1", "portrait": "3:4", "landscape": "4:3"}
_ASPECT_WORDS |= {"widescreen": "16:9", "wide": "16:9", "story": "9:16", "panorama": "3:1"}


def number(slots: Slots, name: str, least: float = -math.inf, most: float = math.inf) -> float | None:
    """The slot as a finite number within bounds; None when it is absent or none."""
    try:
        value = float(slots[name])
    except (KeyError, ValueError):
        return None
    return min(max(value, least), most) if math.isfinite(value) else None


def words(slots: Slots, name: str) -> str:
    """The slot as text; empty when absent."""
    return str(slots.get(name, "")).strip()


def pixels(slots: Slots, name: str) -> int | None:
    """The slot as a side in pixels."""
    value = number(slots, name, 1, _MAX_SIDE)
    return None if value is None else round(value)


def aspect_of(slots: Slots) -> str | None:
    """The slot `aspect` as the contract writes it, such as "16:9"."""
    said = words(slots, "aspect").lower()
    if match := _ASPECT.search(said):
        if float(match[1]) > 0 and float(match[2]) > 0:
            return f"{match[1]}:{match[2]}"
        return None
    return next((aspect for word, aspect in _ASPECT_WORDS.items() if word in said), None)


def generation(goal: str, slots: Slots) -> generator.GenerationSpec:
    """What to draw: the prompt, its style, how many. The size stays the model's own."""
    prompt = words(slots, "prompt") or goal.strip()
    style = words(slots, "style")
    if style and style.lower() not in prompt.lower():
        prompt = f"{prompt}, {style} style"
    spec = generator.GenerationSpec(prompt=clipped(prompt))
    count = number(slots, "count", 1, 16)
    if count is not None and count > 1:
        spec.num_images = round(count)
    return spec


def variation(goal: str, slots: Slots) -> generator.GenerationSpec:
    """As `generation`, and how far to leave the picture."""
    spec = generation(goal, slots)
    strength = number(slots, "strength", 0, 1)
    if strength is not None:
        spec.strength = strength
    return spec


def clipped(prompt: str) -> str:
    """The prompt within the contract's length in bytes."""
    return prompt.encode()[:_MAX_PROMPT_BYTES].decode(errors="ignore")


def film_of_still(slots: Slots) -> editor.StreamAnimateImageRequest:
    """How the camera moves, and for how long."""
    request = editor.StreamAnimateImageRequest()
    motion = words(slots, "motion").lower()
    moves = (
        ("orbit|parallax|3d", editor.CAMERA_MOTION_ORBIT),
        ("pan|slide|sideways", editor.CAMERA_MOTION_PAN),
        ("zoom.?out|away|back", editor.CAMERA_MOTION_ZOOM_OUT),
        ("zoom", editor.CAMERA_MOTION_ZOOM_IN),
    )
    for pattern, move in moves:
        if re.search(pattern, motion):
            request.motion = move
            break
    if (length := film_length(slots)) is not None:
        request.duration.CopyFrom(length)
    return request


def film_length(slots: Slots) -> Duration | None:
    """The slot `duration`, at most a minute; None when absent."""
    seconds = number(slots, "duration", 0.1, 60)
    return None if seconds is None else Duration(nanos=round(seconds % 1 * 1e9), seconds=int(seconds))


def assumption(name: str, slots: Slots) -> str:
    """What `edit` assumes where the goal leaves out what cannot be left out; empty otherwise."""
    if name in ("color_correct", "crop") and (thing := unnamed(name, slots)):
        return f"Things called “{thing}” cannot be found by name here, so it is the main subject that is meant."
    if name == "replace_background" and not words(slots, "background") and not slots.get("own_ground"):
        return "No background is named: it becomes white."
    if name == "resize" and (paper := words(slots, "paper")):
        way = ", the longer side along the picture's own" if slots.get("either_way") else ""
        return f"“{paper}” at {slots['dpi']} dpi is {slots['width']} × {slots['height']} pixels{way}."
    if name == "resize" and not any(slots.get(key) for key in ("width", "height", "percent", "scale", "platform")):
        return "No size is named: it becomes half as large."
    if name == "style_transfer" and not words(slots, "style"):
        return "No style is named: it becomes a painting."
    if name == "color_correct" and words(slots, "tone").lower() == "colorize":
        return "No model gives a grey picture new colours yet: those it has are balanced."
    return ""


def edit(name: str, slots: Slots) -> editor.Operation:
    """The operation of that name. Its second picture, if it takes one, is not part of it."""
    operation = editor.Operation()
    getattr(operation, name).SetInParent()
    fill = _FILLERS.get(name)
    if fill is not None:
        fill(operation, slots)
    return operation


def _select_object(operation: editor.Operation, slots: Slots) -> None:
    spared, label = words(slots, "spared"), words(slots, "object")
    if not (spared or label):
        return
    operation.selection.label = spared or label
    if spared:
        operation.selection.invert = True
    if (feather := number(slots, "feather", 0, _MOST_FEATHER)) is not None:
        operation.selection.feather = feather


def unnamed(name: str, slots: Slots) -> str:
    """The thing that the operation is to act on, where things of that name cannot be found; empty otherwise."""
    thing = words(slots, "spared") or words(slots, "object")
    aims = name in _AIMED and not (name == "crop" and words(slots, "trim"))
    return thing if aims and thing and not labels.meaning(thing) else ""


def _replace_background(operation: editor.Operation, slots: Slots) -> None:
    said = words(slots, "background")
    replaced = operation.replace_background
    if (shadow := number(slots, "shadow", 0, 1)) is not None:
        replaced.shadow = shadow
    if slots.get("own_ground"):
        replaced.blur_radius = 0
    elif (ends := gradient_of(said)) is not None:
        replaced.gradient.start_color, replaced.gradient.end_color = ends
        if re.search(r"\b(left|right|horizontal\w*|sideways|links|rechts)\b", said, re.IGNORECASE):
            replaced.gradient.angle = _LEFT_TO_RIGHT
    elif (color := color_of(said)) is not None:
        replaced.color = color
    elif said:
        replaced.image.SetInParent()
    else:
        replaced.color = _ASSUMED_BACKGROUND


def _blur_background(operation: editor.Operation, slots: Slots) -> None:
    strength = number(slots, "strength", 0, 1)
    if strength is not None:
        operation.blur_background.radius = 40 * strength


def _strength(operation: editor.Operation, slots: Slots) -> None:
    strength = number(slots, "strength", 0, 1)
    if strength is not None:
        getattr(operation, operation.WhichOneof("operation") or "").strength = strength


def _upscale(operation: editor.Operation, slots: Slots) -> None:
    scale = number(slots, "scale", 0, _MAX_SCALE)
    if scale is not None and scale > 1:
        operation.upscale.scale = scale
    elif width := pixels(slots, "width"):
        operation.upscale.width = width
    elif height := pixels(slots, "height"):
        operation.upscale.height = height


def _color_correct(operation: editor.Operation, slots: Slots) -> None:
    values = operation.color_correct
    for name in ("brightness", "contrast", "saturation", "temperature", "tint"):
        if (value := number(slots, name, -1, 1)) is not None:
            setattr(values, name, value)
    tone = words(slots, "tone").lower()
    if tone in ("grayscale", "sepia"):
        values.grayscale = True
    if tone == "sepia":
        values.color = _SEPIA
    elif (color := color_in(words(slots, "color"))) is not None:
        values.color = color
    _select_object(operation, slots)
    if not values.ListFields():
        values.auto = True


def _style_transfer(operation: editor.Operation, slots: Slots) -> None:
    operation.style_transfer.name = words(slots, "style") or _ASSUMED_STYLE
    operation.style_transfer.keep_colors = bool(slots.get("keep_colors"))
    _strength(operation, slots)


def _crop(operation: editor.Operation, slots: Slots) -> None:
    if (radius := number(slots, "corner_radius", 0.001, 0.5)) is not None:
        operation.crop.corner_radius = radius
        if not any(slots.get(name) for name in ("round", "trim", "aspect", "width", "object", "subject")):
            return
    if slots.get("round"):
        operation.crop.subject, operation.crop.subject_aspect = True, "1:1"
        if words(slots, "round") == "face":
            operation.selection.label, operation.crop.margin = "face", _FACE_MARGIN
        return
    off, relative = trim_of(words(slots, "trim"))
    if off:
        for side, amount in off.items():
            setattr(operation.crop.trim, side, amount)
        if relative:
            operation.crop.trim.relative = True
        return
    aspect = aspect_of(slots)
    width, height = pixels(slots, "width"), pixels(slots, "height")
    if aspect is None and width and height:
        divisor = math.gcd(width, height)
        aspect = f"{width // divisor}:{height // divisor}"
    kinds = labels.meaning(words(slots, "object"))
    if slots.get("subject") or aspect is None or kinds:
        operation.crop.subject = True
        operation.crop.subject_aspect = aspect or ""
        if kinds and kinds != (labels.SUBJECT,) and not slots.get("subject"):
            operation.selection.label = words(slots, "object")
            if kinds == (labels.FACE,):
                operation.crop.margin = _FACE_MARGIN
    else:
        operation.crop.aspect = aspect
    if operation.crop.subject and (margin := number(slots, "margin", 0, 1)) is not None:
        operation.crop.margin = margin


def _resize(operation: editor.Operation, slots: Slots) -> None:
    values = operation.resize
    width, height = pixels(slots, "width"), pixels(slots, "height")
    if width:
        values.width = width
    if height:
        values.height = height
    if width or height:
        values.either_way = bool(width and height and slots.get("either_way"))
        return
    percent = number(slots, "percent", 0.1, 100 * _MAX_SCALE)
    scale = number(slots, "scale", 0.001, _MAX_SCALE)
    if platform := words(slots, "platform"):
        name = re.sub(r"[\s_]+", "-", platform.lower())
        values.platform = _PLATFORMS.get(name, name)
    elif percent is not None:
        values.scale = percent / 100
    else:
        values.scale = scale if scale is not None else _ASSUMED_SIZE


def _extend(operation: editor.Operation, slots: Slots) -> None:
    if (color := color_of(words(slots, "color"))) is not None:
        operation.extend.mode, operation.extend.color = editor.EXTEND_MODE_COLOR, color
    if (aspect := aspect_of(slots)) is not None:
        operation.extend.aspect = aspect
        return
    pixels_said = number(slots, "pixels", 1, _MOST_EXTENSION)
    for side in _DIRECTIONS.get(words(slots, "direction").lower(), _DIRECTIONS["all"]):
        setattr(operation.extend, side, round(pixels_said or _EXTENSION_PIXELS))


def _composite(operation: editor.Operation, slots: Slots) -> None:
    laid = operation.composite
    if anchor := words(slots, "anchor"):
        laid.anchor = editor.Anchor.Value(f"ANCHOR_{anchor.upper()}")
    if (width := number(slots, "relative_width", 0.01, 1)) is not None:
        laid.relative_width = width
    if (opacity := number(slots, "opacity", 0, 1)) is not None:
        laid.opacity = opacity


def _write_text(operation: editor.Operation, slots: Slots) -> None:
    written = operation.write_text
    written.text = words(slots, "text")[:_MOST_CHARACTERS]
    written.color, written.background = words(slots, "color"), words(slots, "background")
    if anchor := words(slots, "anchor"):
        written.anchor = editor.Anchor.Value(f"ANCHOR_{anchor.upper()}")
    if (size := number(slots, "size", 0.01, 1)) is not None:
        written.size = size
    if (opacity := number(slots, "opacity", 0, 1)) is not None:
        written.opacity = opacity


def _rotate(operation: editor.Operation, slots: Slots) -> None:
    angle, direction = number(slots, "angle", -360, 360), words(slots, "direction").lower()
    values = operation.rotate
    if direction in ("level", "straighten"):
        values.straighten = True
    elif direction == "horizontal":
        values.flip_horizontal = True
    elif direction == "vertical":
        values.flip_vertical = True
    elif angle is None:
        values.angle = -90 if direction == "counterclockwise" else 90
    if angle is not None:
        values.angle = -abs(angle) if direction == "counterclockwise" else angle


_FILLERS: dict[str, Callable[[editor.Operation, Slots], None]] = {
    "replace_background": _replace_background,
    "blur_background": _blur_background,
    "enhance": _strength,
    "denoise": _strength,
    "match_style": _strength,
    "deblur": _strength,
    "upscale": _upscale,
    "color_correct": _color_correct,
    "remove_object": _select_object,
    "replace_object": _select_object,
    "style_transfer": _style_transfer,
    "crop": _crop,
    "resize": _resize,
    "extend": _extend,
    "rotate": _rotate,
    "composite": _composite,
    "write_text": _write_text,
}
