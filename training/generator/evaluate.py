"""Looks at an exported model: a grid of the committed prompts, colours measured, time taken.

    python -m training.generator.evaluate --encoder model.onnx --tokenizer tokenizer.json

Writes docs/gallery/generator.png (prompts.txt in reading order, seed = line number, first answers) and prints a table.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from PIL import Image

from training.generator.captions import article
from training.generator.colours import main_colour
from training.generator.prepare import HERE, read_config
from training.generator.sampling import Pixels, Sampler, add_arguments

COLUMNS = 12
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple")
THINGS = ("apple", "star", "car", "fish", "heart", "mushroom", "umbrella", "butterfly")


def on_white(picture: Pixels) -> np.ndarray:
    """(H, W, 4) in 0..1 of a picture on white: what is near white counts as transparent."""
    rgb = picture.astype(np.float32) / 255
    alpha = (np.abs(1 - rgb).max(-1, keepdims=True) > 0.15).astype(np.float32)
    return np.concatenate([rgb, alpha], -1)


def colour_accuracy(sampler: Sampler, pairs: list[tuple[str, str]], guidance: float) -> float:
    """Part of "a {colour} {thing}" pictures whose measured main colour is the colour asked for."""
    prompts = [article(f"{colour} {thing}") for colour, thing in pairs]
    pictures = sampler(prompts, range(len(prompts)), guidance=guidance)
    found = [main_colour(on_white(picture)) for picture in pictures]
    return float(
        np.mean([main is not None and main.word == colour for (colour, _), main in zip(pairs, found, strict=True)])
    )


def flatness(pictures: Pixels) -> float:
    """Mean deviation of the border from white in 0..255: how plain a plain background is."""
    border = np.concatenate(
        [pictures[:, :6].reshape(len(pictures), -1), pictures[:, -6:].reshape(len(pictures), -1)], 1
    )
    return float(np.abs(255 - border.astype(np.float32)).mean())


def main() -> None:
    """Writes the grid and prints the measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument("--output", type=Path, default=Path("docs/gallery/generator.png"))
    parser.add_argument("--guidance", type=float, default=read_config()["sampling"]["guidance"])
    parser.add_argument("--size", type=int, default=128, help="px of one picture in the grid")
    options = parser.parse_args()
    sampler = Sampler(options.model, options.encoder, options.tokenizer)
    prompts = (HERE / "prompts.txt").read_text().splitlines()
    started = time.perf_counter()
    pictures = sampler(prompts, range(len(prompts)), guidance=options.guidance)
    seconds = (time.perf_counter() - started) / len(prompts)
    small = [
        np.asarray(Image.fromarray(p).resize((options.size, options.size), Image.Resampling.LANCZOS)) for p in pictures
    ]
    rows = [np.concatenate(small[i : i + COLUMNS], 1) for i in range(0, len(small), COLUMNS)]
    options.output.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(rows)).quantize(255, dither=Image.Dither.NONE).save(options.output, optimize=True)
    held = [tuple(pair.split(" ", 1)) for pair in read_config()["data"]["held_out"]]
    told = [(c, t) for c, t in held if c in COLOURS]
    results = {
        "seconds a picture, one thread, batches of 8": round(seconds, 3),
        "border's deviation from white, 0..255": round(flatness(pictures[:-1]), 2),
        "colour accuracy": round(
            colour_accuracy(sampler, [(c, t) for t in THINGS for c in COLOURS], options.guidance), 3
        ),
        "colour accuracy, pairs held out of training": round(colour_accuracy(sampler, told, options.guidance), 3),
    }
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
