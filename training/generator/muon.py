"""Muon: the step of every weight matrix made orthogonal (Jordan et al. 2024, "Muon: an optimizer for hidden layers").

PyTorch's own runs its iteration in bfloat16 and takes matrices only; this one works in float32, which plain CPUs need,
and sees a convolution as the matrix of its output channels. Steps are scaled to the size of Adam's (Liu et al. 2025,
"Muon is scalable").
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
ADAM_STEP = 0.2  # root mean square of a usual Adam step, in learning rates


def orthogonalise(matrices: Tensor) -> Tensor:
    """The nearest semi-orthogonal matrices, roughly: all singular values are brought near 1 by a quintic iteration."""
    a, b, c = COEFFICIENTS
    x = matrices / (matrices.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    turned = x.shape[-2] > x.shape[-1]
    x = x.mT if turned else x
    for _ in range(ITERATIONS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if turned else x


class Muon(Optimizer):
    """For parameters of two or more dimensions; the others want Adam."""

    def __init__(
        self, parameters: Iterable[Tensor], rate: float, *, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(parameters, {"lr": rate, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step with Nesterov momentum; parameters without a gradient stay.

        Parameters of one shape go together on a GPU, where a step is many small products otherwise.
        """
        for group in self.param_groups:
            alike: dict[tuple[int, ...], list[Tensor]] = defaultdict(list)
            for number, parameter in enumerate(group["params"]):
                if parameter.grad is not None:
                    key = tuple(parameter.flatten(1).shape) if parameter.is_cuda else (number,)
                    alike[key].append(parameter)
            for parameters in alike.values():
                self._move(parameters, group)

    def _move(self, parameters: list[Tensor], group: dict[str, float]) -> None:
        for parameter in parameters:
            if "momentum" not in self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        means = [self.state[parameter]["momentum"] for parameter in parameters]
        torch._foreach_lerp_(means, gradients, 1 - group["momentum"])
        ahead = torch._foreach_lerp(gradients, means, group["momentum"])
        matrices = torch.stack([one.flatten(1) for one in ahead])
        directions = orthogonalise(matrices) * (ADAM_STEP * math.sqrt(max(matrices.shape[1:])))
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        moves = [one.view(p.shape) for one, p in zip(directions, parameters, strict=True)]
        torch._foreach_add_(parameters, moves, alpha=-group["lr"])
