"""Trained weights in small files, to bring them from one machine to another.

    python -m training.generator.pieces pack checkpoint pieces/      # checkpoint.pt -> checkpoint.0.bin ... and .json
    python -m training.generator.pieces unpack checkpoint pieces/    # and back: what train, distil and export read

Averaged weights as float16, in pieces of at most 15 MiB with their sha256. The decoder (`decoder`) goes as float32.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

PIECE = 15 * 2**20  # bytes


def hash_of(data: bytes) -> str:
    """The sha256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def pack(source: Path, folder: Path) -> None:
    """Writes the pieces of a checkpoint and the list of what is in them."""
    state = torch.load(source, weights_only=True, map_location="cpu")
    weights = state["ema"] if "ema" in state else state["decoder"]
    kind: type[np.generic] = np.float16 if "ema" in state else np.float32
    arrays = {name: value.contiguous().numpy().astype(kind) for name, value in weights.items()}
    data = b"".join(array.tobytes() for array in arrays.values())
    pieces = [data[start : start + PIECE] for start in range(0, len(data), PIECE)]
    names = [f"{source.stem}.{number}.bin" for number in range(len(pieces))]
    folder.mkdir(parents=True, exist_ok=True)
    for name, piece in zip(names, pieces, strict=True):
        (folder / name).write_bytes(piece)
    about = {
        "dtype": np.dtype(kind).name,
        "pieces": {name: hash_of(piece) for name, piece in zip(names, pieces, strict=True)},
        "shapes": {name: array.shape for name, array in arrays.items()},
        "progress": state.get("progress", {"step": state.get("step", 0)}),
    }
    (folder / f"{source.stem}.json").write_text(json.dumps(about))
    print(f"{source.name}: {len(data) / 2**20:.1f} MiB in {len(pieces)} pieces, {about['progress']}", flush=True)


def unpack(folder: Path, target: Path) -> None:
    """Writes the checkpoint again, without optimisers. ValueError when a piece is damaged or of another run."""
    about = json.loads((folder / f"{target.stem}.json").read_text())
    parts = []
    for name, wanted in about["pieces"].items():
        parts.append((folder / name).read_bytes())
        if hash_of(parts[-1]) != wanted:
            raise ValueError(f"{name} is not the piece that {target.stem}.json lists; fetch it again")
    numbers = np.frombuffer(b"".join(parts), about["dtype"]).astype(np.float32)
    weights, start = {}, 0
    for name, shape in about["shapes"].items():
        size = int(np.prod(shape))
        weights[name] = torch.from_numpy(numbers[start : start + size].reshape(shape).copy())
        start += size
    if start != len(numbers):
        raise ValueError(f"{target.stem}.json lists {start} numbers, the pieces hold {len(numbers)}")
    state: dict[str, Any] = {"model": weights, "ema": weights, "progress": about["progress"]}
    target.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"decoder": weights} if target.stem == "decoder" else state, target)
    print(f"{target}: {len(numbers) / 1e6:.1f} million numbers, {about['progress']}")


def main() -> None:
    """Packs or unpacks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path(".build/generator"))
    parser.add_argument("what", choices=("pack", "unpack"))
    parser.add_argument("name", choices=("checkpoint", "student", "decoder"))
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    path = options.work / f"{options.name}.pt"
    if options.what == "pack":
        pack(path, options.folder)
    else:
        unpack(options.folder, path)


if __name__ == "__main__":
    main()
