"""The linear map that the default model's previews are drawn with, fitted to its decoder.

    python -m training.generator.preview_map [--model diptych-icons] [--sheet FILE]

Latents are those that the model itself passes in the second half of its way from noise, every third step of a few
drawings (earlier ones overshoot, which the decoder clips and a straight line cannot); what is wanted is what the
decoder makes of them, in points of 1/4 cell. Prints the manifest's table, and how close previews of
other drawings come to the decoder's. `--sheet` shows them: above by the map, below by the decoder.
"""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from diptych.diffusion import Defaults, Pipeline, PreviewMap, RowSpec, open_pipeline
from diptych.engines.base import Array
from diptych.images import Pixels
from diptych.repository import ModelRepository
from diptych.repository.repository import LocalModel

POINTS = 4
PROMPTS = (
    "a red apple", "a smiling sun", "a blue car", "a green tree", "a house in the snow", "two cats", "a slice of pizza",
    "a rocket", "a purple flower", "an owl at night", "a cup of coffee", "three balloons",
)  # fmt: skip
OTHERS = ("a yellow duck", "a mountain lake", "a black guitar", "a strawberry cake")
_STEPS, _EVERY = 20, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="diptych-icons")
    parser.add_argument("--sheet", type=Path)
    given = parser.parse_args()
    with _opened(ModelRepository().open(given.model)) as pipeline:
        fitted = fit(*passed(pipeline, PROMPTS, since=_STEPS // 2))
        print(table(fitted))
        latents, pictures = passed(pipeline, OTHERS)
    drawn = [fitted.pixels(one, picture.shape[1::-1]) for one, picture in zip(latents, pictures, strict=True)]
    errors = [np.mean((one.astype(float) - other) ** 2) for one, other in zip(drawn, pictures, strict=True)]
    print(f"# {np.mean(10 * np.log10(255**2 / np.array(errors))):.1f} dB from the decoder's, on other drawings")
    if given.sheet:
        Image.fromarray(np.vstack([np.hstack(drawn[:12]), np.hstack(pictures[:12])])).save(given.sheet)


def fitted_to(model: LocalModel) -> PreviewMap:
    """The map for a model, by its own drawings."""
    with _opened(model) as pipeline:
        return fit(*passed(pipeline, PROMPTS, since=_STEPS // 2))


def table(fitted: PreviewMap) -> str:
    """The map as a manifest has it."""
    rows = [f"  {[round(float(value), 4) for value in row]}," for row in fitted.weights]
    bias = [round(float(value), 4) for value in fitted.bias]
    return "\n".join(["[preview]", "weights = [", *rows, "]", f"bias = {bias}"])


@contextmanager
def _opened(model: LocalModel) -> Iterator[Pipeline]:
    """Without a map, so that previews are the decoder's."""
    pipeline = open_pipeline(model.directory, Defaults.from_table(model.manifest.defaults))
    try:
        yield pipeline
    finally:
        pipeline.close()


def passed(pipeline: Pipeline, prompts: Sequence[str], *, since: int = 0) -> tuple[list[Array], list[Pixels]]:
    """Clean latents that drawings headed for on their way from step `since`, and the decoder's pictures of them."""
    width, height = pipeline.sizes.native
    spec = RowSpec("", width, height, 0, _STEPS, pipeline.defaults.guidance_scale, pipeline.default_schedule)
    rows = [pipeline.prepare(replace(spec, prompt=prompt, seed=seed)) for seed, prompt in enumerate(prompts)]
    latents, pictures = [], []
    for step in range(_STEPS):
        pipeline.step(rows)
        for row in rows if step >= since and step % _EVERY == 0 else ():
            latents.append(row.estimate)
            pictures.append(pipeline.preview(row))
    return latents, pictures


def fit(latents: Sequence[Array], pictures: Sequence[Pixels]) -> PreviewMap:
    """Least squares from a cell to its points' mean colours."""
    known, wanted = [], []
    for one, picture in zip(latents, pictures, strict=True):
        channels, rows, columns = one.shape
        side = picture.shape[0] // (rows * POINTS)
        means = picture.reshape(rows, POINTS, side, columns, POINTS, side, 3).mean(axis=(2, 5)) / 255
        wanted.append(means.transpose(0, 2, 1, 3, 4).reshape(rows * columns, -1))
        known.append(one.reshape(channels, -1).T)
    cells = np.concatenate(known).astype(np.float64)
    cells = np.hstack([cells, np.ones((len(cells), 1))])
    solution = np.linalg.lstsq(cells, np.concatenate(wanted), rcond=None)[0]
    return PreviewMap(solution[:-1].tolist(), solution[-1].tolist())


if __name__ == "__main__":
    main()
