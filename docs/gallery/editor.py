"""Makes editor.md: every operation before and after, on photographs, through a real editor with its default models.

    python -m docs.gallery.editor [NAME ...]

First answers, default parameters but for what the line shows. An operation of the registry that is missing here is an
error.
"""

import asyncio
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import skimage.data
from PIL import Image, ImageDraw
from sklearn.datasets import load_sample_image

from benchmarks.measuring import machine, started
from diptych.client import AsyncClient
from diptych.types import EditResult
from services.editor.operations import EDITS

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "editor"
_HEIGHT, _GAP, _QUALITY = 340, 8, 80
_MOST_BYTES = 3_000_000


@dataclass(frozen=True)
class Piece:
    """One picture: a photograph, what is done to it, and what it shows. `@name` in `edit` is another photograph."""

    name: str
    photo: str
    edit: str
    says: str

    @property
    def operation(self) -> str:
        """The operation that it shows."""
        return self.edit.partition(":")[0]


PIECES = (
    Piece("cutout", "flower", "remove_background", "soft alpha; checked squares are transparent"),
    Piece("backdrop", "astronaut", "replace_background:gradient=#f4e3c8/#3f6f9f,harmonize=0.4", "a gradient behind"),
    Piece("blur", "china", "blur_background", "what lies behind, out of focus"),
    Piece("enhance", "dark rocket", "enhance", "one call: light, contrast, balance, noise"),
    Piece("denoise", "noisy chelsea", "denoise", "noise of standard deviation 25, added here"),
    Piece("deblur", "soft astronaut", "deblur:strength=1", "a blur of 1.5 px, added here"),
    Piece("upscale", "small astronaut", "upscale:scale=4", "a quarter of the size, four times enlarged; left: bicubic"),
    Piece("warm", "china", "color_correct:temperature=0.35,contrast=0.2,vibrance=0.4", "warmer, deeper"),
    Piece("bw", "astronaut", "color_correct:grayscale,contrast=0.25", "black and white"),
    Piece("local", "flower", "color_correct:hue=-140,selection=subject", "only the subject; the rest bit for bit"),
    Piece("retouch", "astronaut face", "retouch:skin=0.7,teeth=0.5,eyes=0.5", "skin, eyes, teeth"),
    Piece("remove", "china", "remove_object:selection=box:405/208/115/42", "the island is gone"),
    Piece("gone", "coffee", "remove_object:selection=subject", "a large hole: the wood goes on"),
    Piece("sky", "china", "color_correct:exposure=-0.5,saturation=0.8,selection=label:sky", "the sky alone, by name"),
    Piece("swap", "flower", "replace_object:replacement=@cup,selection=subject", "a cup in the dahlia's place"),
    Piece("add", "coffee", "add_object:object=@dahlia,place=440/225/150/150,shadow=0.6", "light matched, with shadow"),
    Piece("style", "china", "style_transfer:name=comic", "a named style"),
    Piece("match", "astronaut", "match_style:reference=@coffee", "palette and tone of the coffee"),
    Piece("crop", "flower", "crop:subject,subject_aspect=1:1,margin=0.1", "a square around the subject"),
    Piece("story", "china", "resize:platform=instagram-story,fit=subject", "a platform by name, subject in view"),
    Piece("extend", "astronaut", "extend:aspect=16:9,mode=blur", "more canvas, no seam"),
    Piece("mirror", "coffee", "extend:aspect=21:9", "more canvas, mirrored"),
    Piece("level", "tilted camera", "rotate:straighten", "turned by 5 degrees here, found and levelled"),
    Piece("collage", "china", "composite:overlay=@dahlia,position=470/20,scale=0.45,shadow=0.6", "laid over, shadow"),
    Piece("text", "coffee", "write_text:text=Espresso time,anchor=top", "words, where they are read well"),
    Piece("analyze", "china", "analyze", "looks, and passes on"),
)


def photograph(name: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A photograph, or one made worse on purpose: "noisy chelsea"."""
    worse, _, base = name.rpartition(" ")
    if base == "face":
        return photograph("astronaut")[0:250, 100:350]
    pixels = load_sample_image(f"{base}.jpg") if base in ("china", "flower") else getattr(skimage.data, base)()
    pixels = np.repeat(pixels[..., np.newaxis], 3, axis=2) if pixels.ndim == 2 else pixels
    match worse:
        case "noisy":
            noise = np.random.default_rng(1).normal(0, 25, pixels.shape)
            return np.asarray(np.rint((pixels + noise).clip(0, 255)), np.uint8)
        case "soft":
            return np.asarray(cv2.GaussianBlur(pixels, (0, 0), 1.5), np.uint8)
        case "small":
            return np.asarray(Image.fromarray(pixels).reduce(4))
        case "dark":
            return np.asarray((pixels * 0.6).astype(np.uint8))
        case "tilted":
            turned = Image.fromarray(pixels).rotate(-5, Image.Resampling.BICUBIC)
            cut = round(0.08 * pixels.shape[0])
            return np.asarray(turned)[cut:-cut, cut:-cut]
    return np.asarray(pixels)


async def others(client: AsyncClient) -> dict[str, Path]:
    """Files that edits name by `@`."""
    files = {name: FOLDER / f"{name}.tmp.png" for name in ("coffee", "cup", "dahlia")}
    Image.fromarray(photograph("coffee")).save(files["coffee"])
    for name, photo in (("cup", "coffee"), ("dahlia", "flower")):
        cut = await client.edit(photograph(photo), ["remove_background", "crop:subject,margin=0"])
        cut.image.save(files[name])
    return files


def shown(image: Image.Image) -> Image.Image:
    """A picture at the height of the page; what is transparent is checked."""
    if image.mode == "RGBA":
        y, x = np.mgrid[: image.height, : image.width]
        squares = np.where((x // 12 + y // 12) % 2, 225, 250).astype(np.uint8)
        ground = Image.fromarray(np.repeat(squares[..., np.newaxis], 3, axis=2))
        ground.paste(image, mask=image.getchannel("A"))
        image = ground
    return image.convert("RGB").resize((round(image.width * _HEIGHT / image.height), _HEIGHT), Image.Resampling.LANCZOS)


def side_by_side(before: Image.Image, after: Image.Image) -> Image.Image:
    """Both, with a gap."""
    left, right = shown(before), shown(after)
    pair = Image.new("RGB", (left.width + _GAP + right.width, _HEIGHT), "white")
    pair.paste(left, (0, 0))
    pair.paste(right, (left.width + _GAP, 0))
    return pair


async def make(client: AsyncClient, piece: Piece, files: dict[str, Path]) -> str:
    """The page's row for a piece; its picture is written."""
    before = photograph(piece.photo)
    edit = piece.edit
    for name, file in files.items():
        edit = edit.replace(f"@{name}", str(file))
    result: EditResult = await client.edit(before, [edit])
    old = Image.fromarray(before)
    if piece.operation == "upscale":
        old = old.resize((result.image.width, result.image.height), Image.Resampling.BICUBIC)
    if piece.operation == "analyze":
        found = await client.analyze(before)
        colors = [(one.color, one.fraction) for one in found.palette]
        after = Image.new("RGB", (200, _HEIGHT), "white")
        for number, (color, _) in enumerate(colors[:8]):
            ImageDraw.Draw(after).rectangle((0, number * _HEIGHT // 8, 200, (number + 1) * _HEIGHT // 8), fill=color)
    else:
        after = result.to_pil()
    side_by_side(old, after).save(FOLDER / f"{piece.name}.webp", quality=_QUALITY, method=6)
    (record,) = result.records
    models = ", ".join(dict.fromkeys(model.name for model in record.models))
    words = re.sub(r"@(\w+)", r"\1.png", piece.edit)
    return f"| ![{piece.name}](editor/{piece.name}.webp) | `{words}`<br>{piece.says} | {models} |"


async def film(client: AsyncClient) -> str:
    """The row of the film."""
    photo = photograph("astronaut")
    done = await client.animate(
        photo, motion="orbit", amount=0.5, duration=2.5, frames_per_second=12, max_side=400, format="webp"
    )
    done.save(FOLDER / "orbit.webp")
    models = ", ".join(model.name for model in done.record.models)
    words = "diptych animate astronaut.png --motion orbit --amount 0.5"
    return f"| ![orbit](editor/orbit.webp) | `{words}`<br>a still in motion | {models} |"


async def main(names: Sequence[str]) -> None:
    missing = set(EDITS) - {piece.operation for piece in PIECES}
    if missing:
        raise SystemExit(f"no piece shows {', '.join(sorted(missing))}")
    FOLDER.mkdir(exist_ok=True)
    pieces = [piece for piece in PIECES if piece.operation in EDITS and (not names or piece.name in names)]
    async with started("editor") as address, AsyncClient(editor_address=address) as client:
        files = await others(client)
        try:
            rows = [await make(client, piece, files) for piece in pieces]
            rows += [await film(client)] if not names or "orbit" in names else []
        finally:
            for file in files.values():
                file.unlink(missing_ok=True)
    if names:
        return
    head = (
        f"# The editor, before and after\n\nReal output, first answers, made by `make gallery`. {machine()}.\n"
        "Photographs: scikit-image's astronaut (NASA), cat, coffee, rocket and cameraman; scikit-learn's temple "
        "(danielbuechele, CC BY 2.0) and dahlia (vultilion, CC BY 2.0), edited as each line says.\n"
    )
    table = "| before, after | asked for | by |\n| --- | --- | --- |"
    (HERE / "editor.md").write_text("\n".join([head, table, *rows, ""]))
    size = sum(file.stat().st_size for file in FOLDER.iterdir())
    if size > _MOST_BYTES:
        raise SystemExit(f"the pictures take {size} bytes, more than {_MOST_BYTES}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
