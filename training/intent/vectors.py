"""Token vectors of goals as the served encoder makes them, kept beside the goals: a GPU has `encoder.py` instead.

One goal a call, as in service: where products are in int8, what else is in a call changes a vector.

python -m training.intent.vectors --data DATA --encoder int8.onnx --workers 2
"""

import argparse
import multiprocessing
import os
import time
from functools import partial
from pathlib import Path

import numpy as np

from diptych.engines import open_engine
from training.intent.encoder import VECTOR

_REPORT = 5000  # goals between two lines of progress


def write(part: Path, encoder: Path) -> None:
    """Writes `tokens.npy`, (T, 384) float16, into one process's folder of goals."""
    os.nice(5)
    ids, sizes = np.load(part / "ids.npy").astype(np.int64), np.load(part / "sizes.npy")
    vectors = np.empty((len(ids), VECTOR), np.float16)
    engine, started, end = open_engine(encoder, threads=1), time.monotonic(), 0
    for done, size in enumerate(sizes.tolist(), 1):
        start, end = end, end + size
        pieces = ids[None, start:end]
        seen = {"input_ids": pieces, "attention_mask": np.ones_like(pieces), "token_type_ids": np.zeros_like(pieces)}
        vectors[start:end] = engine.run(seen)["last_hidden_state"][0]
        if not done % _REPORT:
            print(f"{part.name}: {done} of {len(sizes)} goals, {time.monotonic() - started:.0f} s", flush=True)
    engine.close()
    np.save(part / "tokens.npy", vectors)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder written by training.intent.samples")
    parser.add_argument("--encoder", type=Path, required=True, help="ONNX file of the sentence encoder")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    parts = sorted(options.data.glob("part-*"))
    with multiprocessing.get_context("spawn").Pool(options.workers) as pool:
        pool.map(partial(write, encoder=options.encoder), parts, chunksize=1)


if __name__ == "__main__":
    main()
