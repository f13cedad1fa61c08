"""Paints the training pictures, pairs them with sentences, and embeds every sentence once with the frozen text encoder.

    python -m training.generator.condition --work .build/generator --encoder model.onnx --tokenizer tokenizer.json

Reads what prepare wrote; writes pictures.npy (S, 64, 64, 3) uint8, captions.npy (S,) int32, captions.json and
embeddings.npy (C, 16, 384) float16.
The encoder is the file that serves the model: int8 with dynamic quantisation, so each sentence is embedded alone.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import random
import time
from collections.abc import Iterable
from dataclasses import dataclass
from multiprocessing import Pool
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from training.generator.mixture import Mixture
from training.generator.prepare import read_config
from training.generator.scenes import compose, paint_ground

Floats = NDArray[np.float32]
Answer = TypeVar("Answer")

PART = 500  # samples or sentences that one process takes at a time


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


@dataclass(frozen=True)
class Part:
    """A run of samples; every part has a seed of its own, so what is painted does not depend on who paints it."""

    number: int
    count: int

    @property
    def rows(self) -> slice:
        """Where they lie."""
        return slice(self.number * PART, self.number * PART + self.count)


def parts_of(count: int) -> list[Part]:
    """The parts of `count` rows."""
    return [Part(number, min(PART, count - number * PART)) for number in range(-(-count // PART))]


def paint(part: Part, work: Path) -> list[str]:
    """Paints the samples of a part into pictures.npy and gives their captions."""
    config = read_config()
    mixture = Mixture(read_index(work), config["data"], config["seed"] + part.number)
    samples = [mixture.draw() for _ in range(part.count)]
    rng = random.Random(config["seed"] + part.number)
    variants = np.load(work / "variants.npy", mmap_mode="r")
    size = config["data"]["canvas"]
    pictures = [compose(paint_ground(sample.ground, size, rng), sample.things, variants) for sample in samples]
    np.load(work / "pictures.npy", mmap_mode="r+")[part.rows] = np.stack(pictures)
    return [sample.text for sample in samples]


@functools.cache
def read_index(work: Path) -> dict[str, Any]:
    """What prepare wrote of the drawings."""
    index: dict[str, Any] = json.loads((work / "index.json").read_text())
    return index


@functools.cache
def encoder_of(encoder: Path, tokenizer: Path) -> TextEncoder:
    """One for each process."""
    return TextEncoder(encoder, tokenizer, read_config()["data"]["tokens"])


def embed(part: tuple[Part, list[str]], work: Path, encoder: Path, tokenizer: Path) -> None:
    """Writes the embeddings of a part's sentences into embeddings.npy."""
    states = [encoder_of(encoder, tokenizer)(text) for text in part[1]]
    np.load(work / "embeddings.npy", mmap_mode="r+")[part[0].rows] = np.stack(states).astype(np.float16)


def follow(name: str, done: Iterable[Answer], total: int) -> list[Answer]:
    """The answers, with a line of progress now and then."""
    answers, said = [], time.monotonic()
    for answer in done:
        answers.append(answer)
        if time.monotonic() - said > 5 or len(answers) == total:
            said = time.monotonic()
            print(f"{name}: {len(answers)} of {total} parts", flush=True)
    return answers


def main() -> None:
    """Writes the samples and their embeddings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path(".build/generator"))
    parser.add_argument("--encoder", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--count", type=int, default=128_000)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    options = parser.parse_args()
    data = read_config()["data"]
    work: Path = options.work
    (work / "captions.npy").unlink(missing_ok=True)
    with Pool(options.processes) as pool:
        parts = parts_of(options.count)
        reserve(work / "pictures.npy", (options.count, data["canvas"], data["canvas"], 3), np.uint8)
        painted = follow("pictures", pool.imap(functools.partial(paint, work=work), parts), len(parts))
        said = [text for texts in painted for text in texts]
        texts = ["", *sorted(set(said))]
        place = {text: number for number, text in enumerate(texts)}
        (work / "captions.json").write_text(json.dumps(texts))
        reserve(work / "embeddings.npy", (len(texts), data["tokens"], 384), np.float16)
        lists = [(part, texts[part.rows]) for part in parts_of(len(texts))]
        task = functools.partial(embed, work=work, encoder=options.encoder, tokenizer=options.tokenizer)
        follow("sentences", pool.imap_unordered(task, lists), len(lists))
    np.save(work / "captions.tmp.npy", np.asarray([place[text] for text in said], np.int32))
    (work / "captions.tmp.npy").replace(work / "captions.npy")  # last: a run may be waiting for it
    print(f"{len(said)} samples, {len(texts)} captions")


def reserve(path: Path, shape: tuple[int, ...], kind: type) -> None:
    """An array file of zeros, which the processes fill."""
    np.lib.format.open_memmap(path, mode="w+", dtype=kind, shape=shape)


if __name__ == "__main__":
    main()
