"""How believable a hole in a photograph is filled: pieces of the picture against plain PatchMatch and OpenCV.

    python -m benchmarks.inpainting [--holes N] [--out docs/benchmarks]

From openly licensed photographs random ellipses are taken away, filled, and compared with what was there: PSNR in dB
and SSIM of the hole's rectangle, at least 224 pixels a side, and how differently a network sees it
(`feature_distance.py`). What was there is only one of the believable fillings. Writes inpainting.md.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import patchmatch
from numpy.typing import NDArray

from benchmarks.feature_distance import FeatureDistance
from benchmarks.measuring import machine
from benchmarks.restoration import photographs, psnr, ssim
from diptych.images import Pixels
from services.editor.filling.completion import completed

Hole = NDArray[np.bool_]
_SIDE, _LEAST_SHOWN = 640, 224
# Half axes of the ellipses, as shares of the shorter side: from, to.
_SIZES = {"small holes": (0.04, 0.09), "large holes": (0.12, 0.2)}

_PAGE = """# How believable a hole in a photograph is filled

{machine}. Made by `python -m benchmarks.inpainting`: {holes} random ellipses of each size, in
photographs of at most {side} pixels that scikit-image and scikit-learn ship; means over the hole's rectangle. Higher is
better for PSNR (dB) and SSIM, lower for the feature distance (`benchmarks/feature_distance.py`) and for seconds of
processor time. `remove_object` takes pieces for holes of more than 4,000 pixels and PatchMatch for smaller ones,
where pieces are behind.

{table}
"""


def holes(count: int, sizes: tuple[float, float]) -> Iterator[tuple[Pixels, Hole]]:
    """Photographs in turn, each with a random ellipse that lies inside."""
    random = np.random.default_rng(5)
    pictures = list(photographs(_SIDE))
    for number in range(count):
        picture = pictures[number % len(pictures)]
        height, width = picture.shape[:2]
        across, down = (int(axis * min(height, width)) for axis in random.uniform(*sizes, 2))
        center = int(random.integers(across, width - across)), int(random.integers(down, height - down))
        hole = np.zeros((height, width), np.uint8)
        cv2.ellipse(hole, center, (across, down), float(random.uniform(0, 180)), 0, 360, 1, -1)
        yield picture, hole > 0


def by_pieces(picture: Pixels, hole: Hole) -> Pixels:
    """The editor's."""
    result = completed(picture, hole)
    if result is None:
        raise SystemExit("a hole could not be filled")
    return result


FILLINGS: dict[str, Callable[[Pixels, Hole], Pixels]] = {
    "OpenCV, Telea": lambda picture, hole: np.asarray(
        cv2.inpaint(picture, hole.astype(np.uint8), 5, cv2.INPAINT_TELEA), np.uint8
    ),
    "PatchMatch": lambda picture, hole: patchmatch.inpaint(picture, hole, patch_size=4),
    "pieces": by_pieces,
}


def shown(hole: Hole) -> tuple[slice, slice]:
    """The hole's rectangle, large enough for a network to see something in it."""
    parts = []
    for axis in (1, 0):
        at = np.flatnonzero(hole.any(axis))
        size = max(int(at[-1] - at[0]) + 1, _LEAST_SHOWN)
        start = int(np.clip((at[0] + at[-1] + 1 - size) // 2, 0, hole.shape[1 - axis] - size))
        parts.append(slice(start, start + size))
    return parts[0], parts[1]


def measure(count: int, sizes: tuple[float, float], distance: FeatureDistance) -> dict[str, dict[str, float]]:
    """Means by filling, then by measure."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for picture, hole in holes(count, sizes):
        part = shown(hole)
        truth = np.ascontiguousarray(picture[part])
        damaged = np.where(hole[..., np.newaxis], np.uint8(0), picture)
        for name, fill in FILLINGS.items():
            before = time.process_time()
            result = fill(damaged, hole)
            found[name]["seconds"].append(time.process_time() - before)
            made = np.ascontiguousarray(result[part])
            for measured, value in (("PSNR", psnr), ("SSIM", ssim), ("feature distance", distance)):
                found[name][measured].append(value(made, truth))
    return {name: {what: float(np.mean(each)) for what, each in values.items()} for name, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--holes", type=int, default=30)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"))
    arguments = parser.parse_args()
    measures = ("PSNR", "SSIM", "feature distance", "seconds")
    lines = ["| | filled by | " + " | ".join(measures) + " |", "| --- | --- |" + " ---: |" * len(measures)]
    distance = FeatureDistance()
    for size, bounds in _SIZES.items():
        for name, values in measure(arguments.holes, bounds, distance).items():
            cells = (f"{values[what]:.{2 if what in ('PSNR', 'seconds') else 3}f}" for what in measures)
            lines.append(f"| {size} | {name} | {' | '.join(cells)} |")
            print(lines[-1], flush=True)
    page = _PAGE.format(machine=machine(), holes=arguments.holes, side=_SIDE, table="\n".join(lines))
    (arguments.out / "inpainting.md").write_text(page)


if __name__ == "__main__":
    main()
