"""Muon: the step of every weight matrix made orthogonal (Jordan et al. 2024, "Muon: an optimizer for hidden layers").

PyTorch's own runs its iteration in bfloat16 and takes matrices only; this one works in float32, which plain CPUs need,
and sees a convolution as the matrix of its output channels. Steps are scaled to the size of Adam's (Liu et al. 2025,
"Muon is scalable").
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
ADAM_STEP = 0.2  # root mean square of a usual Adam step, in learning rates


def orthogonalise(matrix: Tensor) -> Tensor:
    """The nearest semi-orthogonal matrix, roughly: all singular values are brought near 1 by a quintic iteration."""
    a, b, c = COEFFICIENTS
    x = matrix / (matrix.norm() + 1e-7)
    turned = x.shape[0] > x.shape[1]
    x = x.T if turned else x
    for _ in range(ITERATIONS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if turned else x


class Muon(Optimizer):
    """For parameters of two or more dimensions; the others want Adam."""

    def __init__(
        self, parameters: Iterable[Tensor], rate: float, *, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(parameters, {"lr": rate, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step with Nesterov momentum; parameters without a gradient stay."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group)

    def _move(self, parameter: Tensor, gradient: Tensor, group: dict[str, float]) -> None:
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        mean = state["momentum"].lerp_(gradient, 1 - group["momentum"])
        ahead = gradient.lerp(mean, group["momentum"]).flatten(1)
        direction = orthogonalise(ahead).view(parameter.shape) * (ADAM_STEP * math.sqrt(max(ahead.shape)))
        parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(direction, alpha=-group["lr"])
