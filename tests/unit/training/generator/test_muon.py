"""The optimiser of the denoiser."""

import torch

from training.generator.muon import Muon, orthogonalise


def test_singular_values_come_near_one() -> None:
    torch.manual_seed(0)
    for shape in ((16, 40), (40, 16)):
        values = torch.linalg.svdvals(orthogonalise(torch.randn(shape)))
        assert values.min() > 0.5 and values.max() < 1.3


def test_it_finds_a_least_squares_answer() -> None:
    torch.manual_seed(0)
    wanted = torch.randn(8, 3, 3, 3)
    weight = torch.nn.Parameter(torch.zeros_like(wanted))
    optimizer = Muon([weight], 0.1)
    for step in range(200):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / 200)
        optimizer.zero_grad()
        (weight - wanted).square().sum().backward()
        optimizer.step()
    assert (weight - wanted).abs().max() < 0.1


def test_weights_without_a_gradient_stay() -> None:
    weight = torch.nn.Parameter(torch.ones(4, 4))
    Muon([weight], 0.1).step()
    assert torch.equal(weight, torch.ones(4, 4))
