"""An exported head as PyTorch again, to train it further on more goals."""

from pathlib import Path

import onnx
import torch
from onnx import numpy_helper

from training.intent.network import IntentHead


def head_of(path: Path, operations: int, slots: int) -> IntentHead:
    """The head of a head.onnx. Raises ValueError where the graph is no export of today's IntentHead."""
    head = IntentHead(operations, slots)
    graph = onnx.load(path).graph
    weights = {item.name: torch.from_numpy(numpy_helper.to_array(item).copy()) for item in graph.initializer}
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
