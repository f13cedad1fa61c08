"""Goals ready for the head, their tokens one after another in a few arrays, written to a folder by many processes.

python -m training.intent.samples --tokenizer FILE --goals 300000 --workers 16 --output DATA
"""

import argparse
import multiprocessing
import os
import shutil
import time
import zlib
from collections.abc import Iterable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from services.orchestrator.intent.features import FeatureReader, Features
from training.intent.dataset import goals
from training.intent.goals import OPERATIONS, Goal

SLOTS = ("object", "replacement", "background", "style", "color", "prompt")
SEED = 20
_CHUNK = 5000  # goals between two lines of progress

# Of N goals with T tokens in all, K operations:
#   ids (T,) int32 word pieces, groups (T, 14) int16, tags (T,) int8 operation of each token (K: none),
#   slots (T,) int8 (len(SLOTS): none), sizes (N,) int64 tokens of each goal, has_image (N,) bool,
#   present (N, K + 1) bool operations meant (the last: nothing can be read), rank (N, K) int8 their order (-1: not
#   meant), known (N,) bool (False: only "nothing to generate" is known of it), english (N,) bool,
#   keys (N,) int64 hashes of the texts; where training.intent.vectors was run, tokens (T, 384) float16.
Arrays = dict[str, np.ndarray[Any, Any]]
OF_TOKENS = ("ids", "groups", "tags", "slots", "tokens")


def prepare(written: Iterable[Goal], reader: FeatureReader) -> Arrays:
    """The arrays of the goals."""
    found = [(goal, reader.read(goal.phrase.text)) for goal in written]
    labels = [_labels(goal, features) for goal, features in found]
    return {
        "ids": np.concatenate([features.ids for _, features in found]).astype(np.int32),
        "groups": np.concatenate([features.groups for _, features in found]).astype(np.int16),
        "sizes": np.array([len(features.ids) for _, features in found]),
        "tags": np.concatenate([tags for tags, _ in labels]),
        "slots": np.concatenate([slots for _, slots in labels]),
        **_of_goals([goal for goal, _ in found]),
    }


def _labels(goal: Goal, features: Features) -> tuple[Any, Any]:
    """Operation and slot of each token."""
    tags = np.full(len(features.ids), len(OPERATIONS), np.int8)
    slots = np.full(len(features.ids), len(SLOTS), np.int8)
    for row, (start, end) in enumerate(features.offsets):
        if start == end:
            continue
        operation, slot = goal.phrase.operations[start], goal.phrase.slots[start]
        if operation is not None:
            tags[row] = OPERATIONS.index(operation)
        if slot in SLOTS:
            slots[row] = SLOTS.index(slot)
    return tags, slots


def _of_goals(written: list[Goal]) -> Arrays:
    """What is known of each goal as a whole."""
    present = np.zeros((len(written), len(OPERATIONS) + 1), bool)
    rank = np.full((len(written), len(OPERATIONS)), -1, np.int8)
    known = np.array([goal.kind != "followupNoImage" for goal in written])
    for row, goal in enumerate(written):
        for place, name in enumerate(goal.operations):
            present[row, OPERATIONS.index(name)] = True
            rank[row, OPERATIONS.index(name)] = place
        present[row, -1] = known[row] and not goal.operations
    texts = [f"{goal.has_image}{goal.phrase.text.lower()}".encode() for goal in written]
    return {
        "has_image": np.array([goal.has_image for goal in written]),
        "present": present,
        "rank": rank,
        "known": known,
        "english": np.array([goal.language == "en" for goal in written]),
        "keys": np.array([zlib.crc32(text) << 31 | zlib.adler32(text) >> 1 for text in texts]),
    }


def _part(number: int, share: int, seed: int, tokenizer: Path, folder: Path, everyday: bool) -> None:
    """Writes one process's goals as a folder of arrays."""
    os.nice(5)
    started = time.monotonic()
    reader = FeatureReader(tokenizer)
    written, parts, done = goals(share, f"{seed}/{number}", everyday=everyday), [], 0
    while chunk := list(islice(written, _CHUNK)):
        parts.append(prepare(chunk, reader))
        done += len(chunk)
        print(f"part {number}: {done} of {share} goals, {time.monotonic() - started:.0f} s", flush=True)
    target = folder / f"part-{number:02}"
    target.mkdir(parents=True)
    for name in parts[0]:
        np.save(target / f"{name}.npy", np.concatenate([part[name] for part in parts]))


def gather(count: int, seed: int, tokenizer: Path, folder: Path, workers: int, *, everyday: bool = False) -> None:
    """Writes `count` goals with that many processes; a folder that is there is made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    share = -(-count // workers)
    job = partial(_part, share=share, seed=seed, tokenizer=tokenizer, folder=folder, everyday=everyday)
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        pool.map(job, range(workers), chunksize=1)


def load(folder: Path) -> Arrays:
    """The arrays of a folder, all parts in one; goals that several parts have are kept once."""
    parts = sorted(folder.glob("part-*"))
    if not parts:
        raise FileNotFoundError(f"{folder} holds no part-*; write it with training.intent.samples")
    names = [path.stem for path in parts[0].glob("*.npy")]
    found = {name: np.concatenate([np.load(part / f"{name}.npy") for part in parts]) for name in names}
    kept = np.zeros(len(found["keys"]), bool)
    kept[np.unique(found["keys"], return_index=True)[1]] = True
    of_tokens = np.repeat(kept, found["sizes"])
    return {name: array[of_tokens if name in OF_TOKENS else kept] for name, array in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", type=Path, required=True, help="tokenizer.json of the encoder")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--goals", type=int, default=300_000)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--everyday", action="store_true", help="edits only in the words that most people use")
    options = parser.parse_args()
    started = time.monotonic()
    sought = (options.goals, options.seed, options.tokenizer, options.output, options.workers)
    gather(*sought, everyday=options.everyday)
    print(f"goals written in {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
