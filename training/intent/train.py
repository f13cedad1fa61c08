"""Trains the intent head on goals that training.intent.samples wrote.

python -m training.intent.train --data DATA --encoder model.onnx --output HEAD
"""

import argparse
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from training.intent.encoder import Encoder
from training.intent.exported import head_of, save_state
from training.intent.goals import OPERATIONS
from training.intent.network import IntentHead
from training.intent.samples import SEED, SLOTS, load

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Recipe:
    """How a head is trained. `averaging`: how much of the average of weights each step keeps."""

    epochs: int = 12
    batch: int = 512
    rate: float = 2e-3
    averaging: float = 0.998
    seed: int = SEED


class Goals:
    """All goals on the device; batches are gathered there."""

    def __init__(self, folder: Path, encoder: Path, device: str) -> None:
        arrays = load(folder)
        self.sizes = arrays["sizes"]
        starts = np.concatenate([[0], np.cumsum(self.sizes)[:-1]])
        kept = {name: torch.from_numpy(array) for name, array in arrays.items() if name not in ("keys", "ids")}
        self.on_device: Tensors = {name: array.to(device) for name, array in kept.items()}
        self.on_device["starts"] = torch.from_numpy(starts).to(device)
        if "tokens" not in kept:
            ids = torch.from_numpy(arrays["ids"])
            self.on_device["tokens"] = Encoder(encoder, device).packed(ids, kept["sizes"])
        self.device = device

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[Tensors]:
        """Every goal once, in groups of about equal length."""
        order = np.argsort(self.sizes + rng.random(len(self.sizes)) * 3, kind="stable")
        cuts = list(range(0, len(order), size))
        rng.shuffle(cuts)
        rows = torch.from_numpy(order).to(self.device)
        for cut in cuts:
            longest = int(self.sizes[order[cut : cut + size]].max())
            yield self.batch(rows[cut : cut + size], longest)

    def batch(self, rows: Tensor, longest: int) -> Tensors:
        """One padded batch; some goals show only their meaning or only their letters."""
        of = self.on_device
        places = torch.arange(longest, device=self.device)
        sizes = of["sizes"][rows][:, None]
        real = places < sizes
        at = torch.where(real, of["starts"][rows][:, None] + places, 0)
        side = torch.rand(len(rows), device=self.device)
        # Other languages are all letters to the encoder.
        letters = (side < 0.82) | ~of["english"][rows]
        inner = real & (places > 0) & (places < sizes - 1)
        weight = of["known"][rows][:, None].float().repeat(1, len(OPERATIONS) + 1)
        weight[:, OPERATIONS.index("generate")] = 1
        return {
            "tokens": of["tokens"][at].float() * (real & (side > 0.05)[:, None])[..., None],
            "groups": of["groups"][at].long() * (real & letters[:, None])[..., None],
            "mask": real.float(),
            "has_image": of["has_image"][rows].float(),
            "present": of["present"][rows].float(),
            "weight": weight,
            "rank": of["rank"][rows].float(),
            "tags": torch.where(inner, of["tags"][at].long(), -100),
            "slots": torch.where(inner, of["slots"][at].long(), -100),
        }


def loss_of(head: IntentHead, batch: Tensors) -> Tensor:
    """Presence, order and tag losses, added up."""
    operations, order, tags, slots = head(batch["tokens"], batch["groups"], batch["has_image"], batch["mask"])
    smooth = batch["present"] * 0.985 + 0.005
    weight = batch["weight"] * (1 + 0.2 * batch["present"])  # a missed operation is the commoner fault
    present = functional.binary_cross_entropy_with_logits(operations, smooth, weight, reduction="none")
    rank = batch["rank"]
    earlier = ((rank[:, :, None] >= 0) & (rank[:, None, :] > rank[:, :, None])).float()
    gap = order[:, None, :] - order[:, :, None]  # (B, i, j): how much later j is than i
    ordering = (functional.softplus(-gap) * earlier).sum() / earlier.sum().clamp(min=1)
    tagging = functional.cross_entropy(tags.flatten(0, 1), batch["tags"].flatten(), label_smoothing=0.05)
    filling = functional.cross_entropy(slots.flatten(0, 1), batch["slots"].flatten(), label_smoothing=0.05)
    return present.sum(1).mean() + ordering + 0.5 * tagging + 0.5 * filling


def train(goals: Goals, head: IntentHead, recipe: Recipe, output: Path) -> None:
    """Trains the head, one-cycle learning rate; after each epoch the average over the last steps is saved."""
    rng = np.random.default_rng(recipe.seed)
    on_gpu = goals.device.startswith("cuda")
    optimiser = torch.optim.AdamW(head.parameters(), lr=recipe.rate, weight_decay=0.02, fused=on_gpu)
    steps = recipe.epochs * -(-len(goals.sizes) // recipe.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, total_steps=steps, pct_start=0.1)
    averaging = torch.optim.swa_utils.get_ema_multi_avg_fn(recipe.averaging)  # type: ignore[no-untyped-call]
    average = torch.optim.swa_utils.AveragedModel(head, multi_avg_fn=averaging)
    began = time.monotonic()
    for epoch in range(recipe.epochs):
        head.train()
        total = torch.zeros((), device=goals.device)
        for batch in goals.batches(recipe.batch, rng):
            loss = loss_of(head, batch)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            average.update_parameters(head)
            total += loss.detach() * len(batch["mask"])
        mean, spent = total.item() / len(goals.sizes), time.monotonic() - began
        print(f"{output.name}: epoch {epoch + 1}/{recipe.epochs} loss {mean:.4f} {spent:.0f} s", flush=True)
        save_state(average.module, output)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder written by training.intent.samples")
    parser.add_argument(
        "--encoder", type=Path, required=True, help="model.onnx of the sentence encoder, for goals without vectors"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for head.npz")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--start", type=Path, help="a head.onnx to go on from")
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--dropout", type=float, default=0.15)
    for name, kind in (("epochs", int), ("batch", int), ("rate", float), ("averaging", float), ("seed", int)):
        parser.add_argument(f"--{name}", type=kind, default=getattr(Recipe, name))
    options = parser.parse_args()
    os.nice(5)
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    sizes = (len(OPERATIONS), len(SLOTS))
    made = IntentHead(*sizes, width=options.width, layers=options.layers, dropout=options.dropout)
    head = head_of(options.start, *sizes) if options.start else made
    started = time.monotonic()
    goals = Goals(options.data, options.encoder, options.device)
    torch.set_float32_matmul_precision("high")  # not before: the encoder's vectors are to be those of its ONNX file
    count = sum(parameter.numel() for parameter in head.parameters())
    seconds = time.monotonic() - started
    print(
        f"{options.output.name}: {len(goals.sizes)} goals, {count} weights, {seconds:.0f} s to load and encode",
        flush=True,
    )
    recipe = Recipe(options.epochs, options.batch, options.rate, options.averaging, options.seed)
    train(goals, head.to(options.device), recipe, options.output)


if __name__ == "__main__":
    main()
