"""Whether automatic corrections do good: photographs made worse in known ways, corrected, compared with themselves.

    python -m benchmarks.auto_correction [--out docs/benchmarks]

The error is the mean distance in Oklab, times 100, from the photograph as it was. A photograph that nothing was done
to has an error of 0: what a correction makes of it is a matter of taste, and here counts against it. Calls the
functions of `color_correct` with `auto` and of `enhance` (without its denoiser) directly; no networks. Writes
auto_correction.md.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import skimage.data
import skimage.io
import sklearn.datasets

from benchmarks.measuring import machine
from diptych.images import Pixels
from services.editor.operations import color_correct, enhance
from services.editor.pixels.color_spaces import LINEAR_OF_BYTE, LUMINANCE, to_encoded, to_oklab
from services.editor.toning.relighting import relight

Change = Callable[[Pixels], Pixels]
_WIDTH = 240
_NAMES = ("astronaut", "chelsea", "coffee", "rocket", "retina", "hubble_deep_field")


def photographs() -> Iterator[tuple[str, Pixels]]:
    """Nine photographs that scikit-image and scikit-learn ship, small: decisions are made by statistics."""
    whole = {name: getattr(skimage.data, name)() for name in _NAMES}
    folder = Path(skimage.data.__file__).parent
    whole["motorcycle"] = skimage.io.imread(folder / "motorcycle_left.png")[..., :3]
    for name in ("china", "flower"):
        whole[name] = sklearn.datasets.load_sample_image(f"{name}.jpg")
    for name, pixels in whole.items():
        size = (_WIDTH, round(pixels.shape[0] * _WIDTH / pixels.shape[1]))
        yield name, np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def lit(red: float, green: float, blue: float, stops: float = 0) -> Change:
    """The picture under light of another colour, as bright, and exposed by so many stops more."""
    gains = np.array([red, green, blue], np.float32)
    gains *= 2**stops / (gains @ LUMINANCE)

    def change(pixels: Pixels) -> Pixels:
        return np.rint(to_encoded(np.minimum(LINEAR_OF_BYTE[pixels] * gains, 1)) * 255).astype(np.uint8)

    return change


WORSE: dict[str, Change] = {
    "untouched": lit(1, 1, 1),
    "warm light": lit(1.25, 1, 0.7),
    "cool light": lit(0.8, 1, 1.3),
    "1.5 stops under": lit(1, 1, 1, -1.5),
    "1 stop over": lit(1, 1, 1, 1),
}


def auto(pixels: Pixels) -> Pixels:
    """`color_correct` with `auto`."""
    return color_correct.correct(pixels, color_correct.Parameters(auto=True), color_correct.decide(pixels))


def enhanced(pixels: Pixels) -> Pixels:
    """`enhance`, but for noise."""
    return relight(pixels, enhance.decide(pixels))


WAYS: dict[str, Change] = {"left alone": lambda pixels: pixels, "color_correct:auto": auto, "enhance": enhanced}


def error(one: Pixels, other: Pixels) -> float:
    """Mean Oklab distance, times 100."""
    difference = to_oklab(LINEAR_OF_BYTE[one]) - to_oklab(LINEAR_OF_BYTE[other])
    return 100 * float(np.linalg.norm(difference, axis=2).mean())


_PAGE = """# Whether automatic corrections do good

{machine}. Made by
`python -m benchmarks.auto_correction`: nine photographs that scikit-image and scikit-learn ship,
made worse as each row says, corrected, compared with what they were. Mean distance in Oklab, times 100; lower is
better. `enhance` also brings dull pictures to life, which counts against it here.

{table}

Worse than leaving the photograph alone, where that had an error: {worse}.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "benchmarks")
    given = parser.parse_args()
    pictures = dict(photographs())
    lines = [f"| made worse by | {' | '.join(WAYS)} |", "| --- |" + " ---: |" * len(WAYS)]
    worse = []
    for kind, change in WORSE.items():
        errors = {
            name: [error(way(change(picture)), picture) for way in WAYS.values()] for name, picture in pictures.items()
        }
        lines.append(f"| {kind} | {' | '.join(f'{mean:.2f}' for mean in np.mean(list(errors.values()), axis=0))} |")
        if kind != "untouched":
            worse += [
                f"{name} in {kind} by {way} ({one:.1f} for {alone:.1f})"
                for name, (alone, *ways) in errors.items()
                for way, one in zip(list(WAYS)[1:], ways, strict=True)
                if one > alone + 0.05
            ]
    page = _PAGE.format(machine=machine(), table="\n".join(lines), worse="; ".join(worse) or "none")
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "auto_correction.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
