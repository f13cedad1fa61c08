"""Pairs pictures with sentences and embeds every sentence once with the frozen text encoder.

    python -m training.generator.condition --work .build/generator --encoder model.onnx --tokenizer tokenizer.json

Reads what prepare wrote; writes samples.npy (S, 6) int32, captions.json and embeddings.npy (C, 16, 384) float16.
The encoder is the file that serves the model: int8 with dynamic quantisation, so each sentence is embedded alone.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from training.generator.captions import caption
from training.generator.colours import BACKGROUNDS
from training.generator.prepare import read_config

Floats = NDArray[np.float32]


class TextEncoder:
    """Sentence -> (tokens, 384) float32 token embeddings, rows of padding are zero."""

    def __init__(self, encoder: Path, tokenizer: Path, tokens: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(encoder), options, providers=["CPUExecutionProvider"])
        self.tokenizer = Tokenizer.from_file(str(tokenizer))
        self.tokenizer.enable_truncation(tokens)
        self.tokenizer.enable_padding(length=tokens)

    def __call__(self, text: str) -> Floats:
        encoding = self.tokenizer.encode(text)
        mask = np.asarray([encoding.attention_mask], np.int64)
        feeds = {"input_ids": np.asarray([encoding.ids], np.int64), "attention_mask": mask}
        feeds["token_type_ids"] = np.zeros_like(mask)
        (states,) = self.session.run(None, feeds)
        return np.asarray(states[0] * mask[0, :, None], dtype=np.float32)


def draw_samples(index: dict[str, Any], data: dict[str, Any], count: int, seed: int) -> list[tuple[int, str, str]]:
    """(variant, background word, caption) of at most `count` training samples; held-out pairs are never drawn."""
    rng = random.Random(seed)
    native: dict[int, int] = {}
    painted: dict[int, list[int]] = {}
    for number, variant in enumerate(index["variants"]):
        if variant["native"]:
            native[variant["drawing"]] = number
        else:
            painted.setdefault(variant["drawing"], []).append(number)
    by_concept: dict[int, list[int]] = {}
    for number, drawing in enumerate(index["drawings"]):
        by_concept.setdefault(drawing["concept"], []).append(number)
    numbers = list(by_concept)
    weights = [index["concepts"][number]["weight"] for number in numbers]
    others = [word for word in BACKGROUNDS if word != "white"]
    samples = []
    for number in rng.choices(numbers, weights, k=count):
        concept, drawing = index["concepts"][number], rng.choice(by_concept[number])
        repainted = drawing in painted and rng.random() < data["recoloured"]
        chosen = rng.choice(painted[drawing]) if repainted else native[drawing]
        colour = index["variants"][chosen]["colour"]
        if f"{colour} {concept['noun']}" in data["held_out"]:
            continue
        say_colour = bool(colour) and (repainted or rng.random() < 0.45)
        background = "white" if rng.random() < data["plain_white"] else rng.choice([o for o in others if o != colour])
        style = data["packs"][index["drawings"][drawing]["pack"]]["style"] if rng.random() < data["styled"] else ""
        said = background if background != "white" or rng.random() < 0.2 else ""
        text = caption(
            concept["noun"],
            concept["others"],
            colour=colour,
            say_colour=say_colour,
            style=style,
            background=said,
            rng=rng,
        )
        samples.append((chosen, background, text))
    return samples


def main() -> None:
    """Writes the samples and their embeddings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path(".build/generator"))
    parser.add_argument("--encoder", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--count", type=int, default=100_000)
    options = parser.parse_args()
    config = read_config()
    index = json.loads((options.work / "index.json").read_text())
    samples = draw_samples(index, config["data"], options.count, config["seed"])
    texts = ["", *sorted({text for _, _, text in samples})]
    place = {text: number for number, text in enumerate(texts)}
    encoder = TextEncoder(options.encoder, options.tokenizer, config["data"]["tokens"])
    shape = (len(texts), config["data"]["tokens"], 384)
    embeddings = np.lib.format.open_memmap(options.work / "embeddings.npy", mode="w+", dtype=np.float16, shape=shape)
    for number, text in enumerate(texts):
        embeddings[number] = encoder(text)
    rows = [(variant, *BACKGROUNDS[background], place[text], 0) for variant, background, text in samples]
    np.save(options.work / "samples.npy", np.asarray(rows, np.int32))
    (options.work / "captions.json").write_text(json.dumps(texts))
    print(f"{len(rows)} samples, {len(texts)} captions")


if __name__ == "__main__":
    main()
