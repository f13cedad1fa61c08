"""Trains the intent head: goals -> frozen encoder -> head -> models/diptych-intent/head.onnx and intent.json.

python -m training.intent.train --encoder FOLDER      (FOLDER holds model.onnx and tokenizer.json of `minilm`)
"""

import argparse
import json
import os
import random
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor
from torch.nn import functional

from services.orchestrator.intent.features import GROUPS_PER_TOKEN, MAX_TOKENS, FeatureReader
from training.intent.dataset import goals
from training.intent.exported import head_of
from training.intent.goals import OPERATIONS, Goal
from training.intent.network import IntentHead
from training.intent.sealed import seal

SLOTS = ("object", "replacement", "background", "style", "color", "prompt")
SEED = 20
TARGET = Path(__file__).parents[2] / "models" / "diptych-intent"


@dataclass(frozen=True)
class Sample:
    """One goal ready for the head."""

    tokens: np.ndarray[Any, np.dtype[np.float16]]  # (L, 384)
    groups: np.ndarray[Any, np.dtype[np.int64]]  # (L, G)
    has_image: bool
    present: tuple[int, ...]  # operations meant, in order
    nothing: bool
    known: bool  # False: only "nothing to generate" is known of it
    tags: np.ndarray[Any, np.dtype[np.int64]]  # (L,) operation of each token, K: none
    slots: np.ndarray[Any, np.dtype[np.int64]]  # (L,) slot of each token, S: none
    english: bool


def encoder_session(path: Path) -> onnxruntime.InferenceSession:
    """The sentence encoder on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def prepare(written: Iterable[Goal], encoder: Path) -> list[Sample]:
    """Samples of the goals, token vectors computed in groups of equal length (so that nothing is padded)."""
    reader = FeatureReader(encoder / "tokenizer.json")
    session = encoder_session(encoder / "model.onnx")
    found = [(goal, reader.read(goal.phrase.text)) for goal in written]
    by_length: dict[int, list[int]] = {}
    for index, (_, features) in enumerate(found):
        by_length.setdefault(len(features.ids), []).append(index)
    samples: dict[int, Sample] = {}
    for indices in by_length.values():
        for start in range(0, len(indices), 16):
            part = indices[start : start + 16]
            ids = np.stack([found[i][1].ids for i in part])
            feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
            vectors = session.run(None, feed)[0].astype(np.float16)
            for row, index in enumerate(part):
                samples[index] = _sample(*found[index], vectors[row])
    return [samples[i] for i in range(len(found))]


def _sample(goal: Goal, features: Any, vectors: Any) -> Sample:
    length = len(features.ids)
    tags = np.full(length, len(OPERATIONS), np.int64)
    slots = np.full(length, len(SLOTS), np.int64)
    for row, (start, end) in enumerate(features.offsets):
        if start == end:
            continue
        operation, slot = goal.phrase.operations[start], goal.phrase.slots[start]
        if operation is not None:
            tags[row] = OPERATIONS.index(operation)
        if slot in SLOTS:
            slots[row] = SLOTS.index(slot)
    present = tuple(OPERATIONS.index(name) for name in goal.operations)
    known = goal.kind != "followupNoImage"
    return Sample(
        vectors,
        features.groups,
        goal.has_image,
        present,
        known and not present,
        known,
        tags,
        slots,
        goal.language == "en",
    )


def batches(samples: list[Sample], size: int, rng: random.Random | None) -> Iterator[list[Sample]]:
    """Groups of samples of about equal length."""
    order = list(range(len(samples)))
    if rng is not None:
        rng.shuffle(order)
        order.sort(key=lambda i: len(samples[i].tokens) + rng.random() * 4)
    else:
        order.sort(key=lambda i: len(samples[i].tokens))
    groups = [order[i : i + size] for i in range(0, len(order), size)]
    if rng is not None:
        rng.shuffle(groups)
    for group in groups:
        yield [samples[i] for i in group]


def tensors(group: list[Sample], rng: random.Random | None = None) -> dict[str, Tensor]:
    """One padded batch. With `rng`, as in training, some goals show only their meaning or only their letters."""
    length = max(len(s.tokens) for s in group)
    count = len(OPERATIONS)
    out = {
        "tokens": torch.zeros(len(group), length, 384),
        "groups": torch.zeros(len(group), length, group[0].groups.shape[1], dtype=torch.long),
        "mask": torch.zeros(len(group), length),
        "has_image": torch.tensor([float(s.has_image) for s in group]),
        "present": torch.zeros(len(group), count + 1),
        "weight": torch.ones(len(group), count + 1),
        "rank": torch.full((len(group), count), -1.0),
        "tags": torch.full((len(group), length), -100, dtype=torch.long),
        "slots": torch.full((len(group), length), -100, dtype=torch.long),
    }
    for row, sample in enumerate(group):
        size = len(sample.tokens)
        side = rng.random() if rng is not None else 0.5
        if side > 0.05:
            out["tokens"][row, :size] = torch.from_numpy(sample.tokens).float()
        # Other languages are all letters to the encoder.
        if side < 0.82 or not sample.english:
            out["groups"][row, :size] = torch.from_numpy(sample.groups)
        out["mask"][row, :size] = 1
        out["tags"][row, 1 : size - 1] = torch.from_numpy(sample.tags[1 : size - 1])
        out["slots"][row, 1 : size - 1] = torch.from_numpy(sample.slots[1 : size - 1])
        for place, operation in enumerate(sample.present):
            out["present"][row, operation] = 1
            out["rank"][row, operation] = place
        out["present"][row, count] = float(sample.nothing)
        if not sample.known:
            out["weight"][row] = 0
            out["weight"][row, OPERATIONS.index("generate")] = 1
    return out


def loss_of(head: IntentHead, batch: dict[str, Tensor]) -> Tensor:
    """Presence, order and tag losses, added up."""
    operations, order, tags, slots = head(batch["tokens"], batch["groups"], batch["has_image"], batch["mask"])
    smooth = batch["present"] * 0.985 + 0.005
    weight = batch["weight"] * (1 + 0.2 * batch["present"])  # a missed operation is the commoner fault
    present = functional.binary_cross_entropy_with_logits(operations, smooth, weight, reduction="none")
    rank = batch["rank"]
    earlier = (rank[:, :, None] >= 0) & (rank[:, None, :] > rank[:, :, None])
    gap = order[:, None, :] - order[:, :, None]  # (B, i, j): how much later j is than i
    ordering = functional.softplus(-gap)[earlier].sum() / max(1, int(earlier.sum()))
    tagging = functional.cross_entropy(tags.flatten(0, 1), batch["tags"].flatten(), label_smoothing=0.05)
    filling = functional.cross_entropy(slots.flatten(0, 1), batch["slots"].flatten(), label_smoothing=0.05)
    return present.sum(1).mean() + ordering + 0.5 * tagging + 0.5 * filling


def train(samples: list[Sample], epochs: int, rate: float = 2e-3, start: IntentHead | None = None) -> IntentHead:
    """The head after `epochs` over the samples, one-cycle learning rate, averaged over the last steps.

    It begins where `start` ended, if that is given.
    """
    torch.manual_seed(SEED)
    rng = random.Random(SEED)
    head = start or IntentHead(len(OPERATIONS), len(SLOTS))
    optimiser = torch.optim.AdamW(head.parameters(), lr=rate, weight_decay=0.02)
    size = 64 if start else 96
    steps = epochs * -(-len(samples) // size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.1)
    averaging = torch.optim.swa_utils.get_ema_multi_avg_fn(0.985 if start else 0.998)  # type: ignore[no-untyped-call]
    average = torch.optim.swa_utils.AveragedModel(head, multi_avg_fn=averaging)
    began = time.monotonic()
    for epoch in range(epochs):
        head.train()
        total = 0.0
        for group in batches(samples, size, rng):
            loss = loss_of(head, tensors(group, rng))
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            average.update_parameters(head)
            total += loss.item() * len(group)
        print(
            f"epoch {epoch + 1}/{epochs} loss {total / len(samples):.4f} {time.monotonic() - began:.0f} s", flush=True
        )
    trained: IntentHead = average.module  # type: ignore[assignment]
    return trained.eval()


def export(head: IntentHead, path: Path) -> None:
    """Writes the head as ONNX for any number of goals of any length."""
    count, length = 2, 9
    inputs = (
        torch.zeros(count, length, 384),
        torch.zeros(count, length, GROUPS_PER_TOKEN, dtype=torch.long),
        torch.ones(count),
        torch.ones(count, length),
    )
    names = ["tokens", "groups", "has_image", "mask"]
    row, place = torch.export.Dim("goals", min=1, max=64), torch.export.Dim("length", min=2, max=MAX_TOKENS)
    axes = {0: row, 1: place}
    torch.onnx.export(
        head, inputs, str(path), input_names=names, dynamo=True, external_data=False,
        output_names=["operations", "order", "token_operations", "token_slots"], verbose=False,
        dynamic_shapes={"tokens": axes, "groups": axes, "has_image": {0: row}, "mask": axes},
    )  # fmt: skip
    # The exporter notes in each node where in whose files it came from.
    model = onnx.load(path)
    for node in model.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    model.graph.ClearField("metadata_props")
    onnx.save(model, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", type=Path, required=True)
    parser.add_argument("--goals", type=int, default=30_000)
    parser.add_argument("--epochs", type=int, default=7)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--start", type=Path, help="a head.onnx to go on from")
    parser.add_argument("--output", type=Path, default=TARGET)
    options = parser.parse_args()
    os.nice(5)
    torch.set_num_threads(1)
    start = time.monotonic()
    samples = prepare(goals(options.goals, options.seed), options.encoder)
    print(f"{len(samples)} goals encoded in {time.monotonic() - start:.0f} s", flush=True)
    if options.start:
        known = head_of(options.start, len(OPERATIONS), len(SLOTS))
        head = train(samples, options.epochs, rate=1.2e-3, start=known)
    else:
        head = train(samples, options.epochs)
    options.output.mkdir(parents=True, exist_ok=True)
    export(head, options.output / "head.onnx")
    settings = {
        "operations": OPERATIONS,
        "slots": SLOTS,
        "calibration": [1.0, 0.0],
        "prior": -0.4,
        "clarify_below": 0.0,
    }
    (options.output / "intent.json").write_text(json.dumps(settings, indent=1) + "\n")
    seal(options.output)


if __name__ == "__main__":
    main()
