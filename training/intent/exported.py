"""The trained head in files: weights as arrays, the head as ONNX with its settings, and an exported head as PyTorch.

python -m training.intent.exported HEAD [--output FOLDER]      (HEAD holds head.npz; by default it gets the rest)
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from services.orchestrator.intent.features import GROUPS_PER_TOKEN, MAX_TOKENS
from training.intent.goals import OPERATIONS
from training.intent.network import IntentHead
from training.intent.samples import SLOTS
from training.intent.sealed import seal

# Added to the logit of every operation: training goals hold more operations than people's. Chosen among steps of 0.3 by
# exact plans on our own and the labelled goals; of equally good ones the smallest, which asks least.
PRIOR = -1.3
TARGET = Path(__file__).parents[2] / "models" / "diptych-intent"


def save_state(head: torch.nn.Module, folder: Path) -> None:
    """Writes the weights as head.npz: no pickle, readable by any version of PyTorch."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {name: value.cpu().numpy() for name, value in head.state_dict().items()}
    np.savez(folder / "head.npz", **arrays)


def load_state(path: Path) -> IntentHead:
    """The head of a head.npz, of whatever width and depth."""
    found = np.load(path)
    state = {name: torch.from_numpy(found[name]) for name in found.files}
    width = len(state["norm.weight"])
    layers = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("blocks."))
    head = IntentHead(len(OPERATIONS), len(SLOTS), width=width, layers=layers)
    head.load_state_dict(state)
    return head.eval()


def head_of(path: Path, operations: int, slots: int) -> IntentHead:
    """The head of a head.onnx. Raises ValueError where the graph is no export of today's IntentHead."""
    graph = onnx.load(path).graph
    weights = {item.name: torch.from_numpy(numpy_helper.to_array(item).copy()) for item in graph.initializer}
    layers = 1 + max((int(name.split(".")[1]) for name in weights if name.startswith("blocks.")), default=0)
    head = IntentHead(operations, slots, width=len(weights["norm.weight"]), layers=layers)
    state = {name: weights[name] for name in head.state_dict() if name in weights}
    # The exporter folds the transposition of matrices into new constants; they come in the order of the calculation.
    factors = [weights[node.input[1]] for node in graph.node if node.op_type == "MatMul" and node.input[1] in weights]
    names = ["project.weight", "widen.weight"]
    for block in range(len(head.blocks)):
        names += [f"blocks.{block}.{part}.weight" for part in ("mix", "out", "grow", "shrink")]
    names += ["keys.weight", "queries", "tag_operation.weight", "early.weight", "tag_slot.weight"]
    shapes = {name: tuple(value.shape) for name, value in head.state_dict().items()}
    for name in names:
        match = next((i for i, factor in enumerate(factors) if tuple(factor.T.shape) == shapes[name]), None)
        if match is None:
            raise ValueError(f"{path}: no matrix for {name}; it was exported from another network")
        state[name] = factors.pop(match).T.contiguous()
    head.load_state_dict(state)
    return head


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
    parser.add_argument("head", type=Path, help="folder with head.npz")
    parser.add_argument("--output", type=Path, help=f"folder for head.onnx and intent.json, e.g. {TARGET.name}")
    options = parser.parse_args()
    output: Path = options.output or options.head
    output.mkdir(parents=True, exist_ok=True)
    export(load_state(options.head / "head.npz"), output / "head.onnx")
    settings = {
        "operations": OPERATIONS,
        "slots": SLOTS,
        "calibration": [1.0, 0.0],
        "prior": PRIOR,
        "clarify_below": 0.0,
    }
    (output / "intent.json").write_text(json.dumps(settings, indent=1) + "\n")
    seal(output)


if __name__ == "__main__":
    main()
