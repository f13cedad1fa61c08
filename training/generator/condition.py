"""Paints the training pictures, pairs them with sentences, and embeds every sentence once with the frozen text encoder.

    python -m training.generator.condition --work .build/generator --encoder model.onnx --tokenizer tokenizer.json

Reads what prepare wrote; writes pictures.npy (S, 64, 64, 3) uint8, captions.npy (S,) int32, captions.json and
embeddings.npy (C, 16, 384) float16.
The encoder is the file that serves the model: int8 with dynamic quantisation, so each sentence is embedded alone.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from training.generator.mixture import Mixture, Sample
from training.generator.prepare import read_config
from training.generator.scenes import compose, paint_ground

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


def paint(samples: Sequence[Sample], work: Path, size: int, seed: int) -> None:
    """Writes pictures.npy, (S, size, size, 3) uint8: every sample as it is shown."""
    rng = random.Random(seed)
    variants = np.load(work / "variants.npy", mmap_mode="r")
    shape = (len(samples), size, size, 3)
    pictures = np.lib.format.open_memmap(work / "pictures.npy", mode="w+", dtype=np.uint8, shape=shape)
    for number, sample in enumerate(samples):
        pictures[number] = compose(paint_ground(sample.ground, size, rng), sample.things, variants)


def main() -> None:
    """Writes the samples and their embeddings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path(".build/generator"))
    parser.add_argument("--encoder", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--count", type=int, default=64_000)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    config = read_config()
    index = json.loads((options.work / "index.json").read_text())
    mixture = Mixture(index, config["data"], config["seed"])
    samples = [mixture.draw() for _ in range(options.count)]
    paint(samples, options.work, config["data"]["canvas"], config["seed"])
    texts = ["", *sorted({sample.text for sample in samples})]
    place = {text: number for number, text in enumerate(texts)}
    np.save(options.work / "captions.npy", np.asarray([place[sample.text] for sample in samples], np.int32))
    (options.work / "captions.json").write_text(json.dumps(texts))
    encoder = TextEncoder(options.encoder, options.tokenizer, config["data"]["tokens"])
    shape = (len(texts), config["data"]["tokens"], 384)
    embeddings = np.lib.format.open_memmap(options.work / "embeddings.npy", mode="w+", dtype=np.float16, shape=shape)
    with ThreadPoolExecutor(options.threads) as threads:
        for number, states in enumerate(threads.map(encoder, texts)):
            embeddings[number] = states
    print(f"{len(samples)} samples, {len(texts)} captions")


if __name__ == "__main__":
    main()
