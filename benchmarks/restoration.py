"""How near degraded photographs come to what they were: the editor's operations against plain baselines.

    python -m benchmarks.restoration [--photos N] [--side N] [--threads N] [--out docs/benchmarks]

Each photograph is degraded here, mended, and compared with itself: PSNR in dB over red, green and blue, SSIM (Wang et
al. 2004) over the same, and how differently a network sees the two (`feature_distance.py`). Baselines know what the
operations must find out: non-local means is told the noise, and of sixteen unsharp masks the best is taken for each
photograph. Writes restoration.json and restoration.md.
"""

import argparse
import asyncio
import itertools
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import skimage.data
import sklearn.datasets
from PIL import Image as PillowImage
from skimage.metrics import structural_similarity

from benchmarks.feature_distance import FeatureDistance
from benchmarks.measuring import machine, started
from diptych.client import AsyncClient
from diptych.images import Pixels

Change = Callable[[Pixels], Pixels]


@dataclass(frozen=True)
class Task:
    """`baseline` sees the degraded picture and, to choose its own settings by, the original."""

    name: str
    operation: str
    degrade: Change
    baseline: Callable[[Pixels, Pixels], Pixels]


def photographs(side: int) -> Iterator[Pixels]:
    """The middle of openly licensed photographs that scikit-image and scikit-learn ship."""
    whole = [getattr(skimage.data, name)() for name in ("astronaut", "chelsea", "coffee", "rocket")]
    for picture in (*whole, *sklearn.datasets.load_sample_images().images):
        height, width = (min(side, length) // 24 * 24 for length in picture.shape[:2])
        top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
        yield np.ascontiguousarray(picture[top : top + height, left : left + width])


def psnr(one: Pixels, other: Pixels) -> float:
    """Peak signal to noise, dB."""
    error = np.square(one.astype(np.float64) - other).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def ssim(one: Pixels, other: Pixels) -> float:
    """Structural similarity, at most 1."""
    return float(structural_similarity(one, other, channel_axis=2))  # type: ignore[no-untyped-call]


def rounded(values: np.ndarray) -> Pixels:
    """Floats as bytes."""
    whole: Pixels = np.rint(values.clip(0, 255)).astype(np.uint8)
    return whole


def gaussian(sigma: float) -> Change:
    """Noise of one strength everywhere."""
    return lambda picture: rounded(picture + np.random.default_rng(1).normal(0, sigma, picture.shape))


def photon(most: float) -> Change:
    """The noise of so few photons that white is `most` of them: stronger in the light."""
    return lambda picture: rounded(np.random.default_rng(1).poisson(picture / 255 * most) / most * 255)


def grainy(sigma: float) -> Change:
    """Noise spread over several pixels, as cameras leave it."""

    def degrade(picture: Pixels) -> Pixels:
        grain = cv2.GaussianBlur(np.random.default_rng(1).normal(0, 1, picture.shape), (0, 0), 1)
        return rounded(picture + grain / grain.std() * sigma)

    return degrade


def soft(blur: float) -> Change:
    """A soft lens: a Gaussian blur, and a little noise."""

    def degrade(picture: Pixels) -> Pixels:
        blurred = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), blur)
        return rounded(blurred + np.random.default_rng(1).normal(0, 2, picture.shape))

    return degrade


def smaller(factor: int) -> Change:
    """Scaled down with antialiasing."""
    return lambda picture: resized(picture, picture.shape[1] // factor, picture.shape[0] // factor, "LANCZOS")


def resized(picture: Pixels, width: int, height: int, filter_name: str) -> Pixels:
    """Another size, by Pillow."""
    return np.asarray(PillowImage.fromarray(picture).resize((width, height), PillowImage.Resampling[filter_name]))


def non_local_means(degraded: Pixels, original: Pixels) -> Pixels:
    """OpenCV's, told the noise there is."""
    sigma = float(np.std(degraded.astype(np.float32) - original))
    return np.asarray(cv2.fastNlMeansDenoisingColored(degraded, None, 0.9 * sigma, 0.9 * sigma, 5, 15), np.uint8)


def unsharp(degraded: Pixels, original: Pixels) -> Pixels:
    """The best of sixteen unsharp masks."""
    light = degraded.astype(np.float32)
    masks = [
        rounded(light + amount * (light - cv2.GaussianBlur(light, (0, 0), reach)))
        for amount, reach in itertools.product((0.5, 1.0, 1.5, 2.5), (0.8, 1.2, 2.0, 3.0))
    ]
    return max(masks, key=lambda mask: psnr(mask, original))


def bicubic(degraded: Pixels, original: Pixels) -> Pixels:
    """Pillow's."""
    return resized(degraded, original.shape[1], original.shape[0], "BICUBIC")


TASKS = (
    *(Task(f"noise, sigma {sigma}", "denoise", gaussian(sigma), non_local_means) for sigma in (10, 25, 50)),
    Task("noise of 30 photons", "denoise", photon(30), non_local_means),
    Task("grain over pixels, sigma 10", "denoise", grainy(10), non_local_means),
    *(Task(f"blur, sigma {blur}", "deblur", soft(blur), unsharp) for blur in (1.0, 1.6, 2.4)),
    *(Task(f"{times} times smaller", f"upscale:scale={times}", smaller(times), bicubic) for times in (2, 3, 4, 8)),
)


_PAGE = """# How near degraded photographs come to what they were

{machine}. Made by `python -m benchmarks.restoration`: {photos} photographs of at most {side} pixels that scikit-image
and scikit-learn ship, degraded, mended by the editor over gRPC, compared with themselves; means. Higher is better for
PSNR (dB) and SSIM, lower for the feature distance: LPIPS's formula on the features of a classifier (MobileNetV2),
without weights fitted to people's judgements. The baseline is OpenCV's non-local means told the true noise, the best of
sixteen unsharp masks chosen by looking at the original, or bicubic enlarging.

{table}
{worse}
"""
_COLUMNS = ("degraded", "baseline", "ours")


async def measure(
    client: AsyncClient, task: Task, pictures: list[Pixels], distance: FeatureDistance
) -> dict[str, float]:
    """Means by measure and contender, such as "psnr ours"."""
    found: dict[str, list[float]] = defaultdict(list)
    for picture in pictures:
        degraded = await asyncio.to_thread(task.degrade, picture)
        plain = await asyncio.to_thread(task.baseline, degraded, picture)
        ours = (await client.edit(degraded, [task.operation])).image.to_numpy()[..., :3]
        shown = {"baseline": plain, "ours": np.ascontiguousarray(ours)}
        if degraded.shape == picture.shape:  # There is no measuring without enlarging.
            shown["degraded"] = degraded
        for name, one in shown.items():
            for measured, value in (("psnr", psnr), ("ssim", ssim), ("distance", distance)):
                found[f"{measured} {name}"].append(await asyncio.to_thread(value, one, picture))
    return {name: float(np.mean(values)) for name, values in found.items()}


def table(results: dict[str, dict[str, float]]) -> str:
    """In Markdown, a row for each task."""
    heads = [f"{measured} {name}" for measured in ("PSNR", "SSIM", "distance") for name in _COLUMNS]
    lines = [f"| {' | '.join(['degraded by', *heads])} |", "| --- |" + " ---: |" * len(heads)]
    for task, values in results.items():
        cells = [
            f"{values[key]:.{2 if head.startswith('PSNR') else 3}f}" if (key := head.lower()) in values else ""
            for head in heads
        ]
        lines.append(f"| {' | '.join([task, *cells])} |")
    return "\n".join(lines) + "\n"


def worse(results: dict[str, dict[str, float]]) -> list[str]:
    """Where the editor is behind the baseline, in words."""
    return [
        f"{task}: {measured} {values[f'{measured} ours']:.3f} against {values[f'{measured} baseline']:.3f}"
        for task, values in results.items()
        for measured, sign in (("psnr", 1), ("ssim", 1), ("distance", -1))
        if sign * (values[f"{measured} ours"] - values[f"{measured} baseline"]) < 0
    ]


def write(results: dict[str, dict[str, float]], photos: int, side: int, out: Path) -> None:
    """restoration.json and restoration.md."""
    out.mkdir(parents=True, exist_ok=True)
    found = {"machine": machine(), "photographs": photos, "side": side, "results": results}
    (out / "restoration.json").write_text(json.dumps(found, indent=1) + "\n")
    behind = worse(results)
    told = (
        "Behind the baseline:\n\n" + "\n".join(f"- {one}" for one in behind) if behind else "Never behind the baseline."
    )
    page = _PAGE.format(machine=machine(), photos=photos, side=side, table=table(results), worse=told)
    (out / "restoration.md").write_text(page)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=6, help="how many photographs (default: all %(default)s)")
    parser.add_argument("--side", type=int, default=384, help="longest side of each, pixels (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=0, help="threads for the engine; 0 leaves it to it")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "benchmarks")
    given = parser.parse_args()
    pictures = list(itertools.islice(photographs(given.side), given.photos))
    results = {}
    async with (
        started("editor", "--threads", str(given.threads)) as editor,
        AsyncClient(editor_address=editor) as client,
    ):
        distance = await asyncio.to_thread(FeatureDistance)
        for task in TASKS:
            results[task.name] = await measure(client, task, pictures, distance)
            print(task.name, results[task.name], flush=True)
    write(results, len(pictures), given.side, given.out)


if __name__ == "__main__":
    asyncio.run(main())
