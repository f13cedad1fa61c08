"""The map that previews are drawn with is fitted to the decoder."""

from types import SimpleNamespace

import numpy as np
import torch
from diffusers.configuration_utils import FrozenDict
from torch import Tensor, nn
from torch.nn.functional import interpolate

from diptych.export.previews import fit_preview_map

WEIGHTS = torch.tensor([[0.2, 0.1, 0.0], [0.0, 0.2, -0.1], [0.1, 0.0, 0.3]])


class LinearCode(nn.Module):
    """An autoencoder whose cells are mixed colours: what a map can be fitted to exactly."""

    config = FrozenDict(scaling_factor=0.5, shift_factor=0.25)

    def encode(self, pixels: Tensor) -> SimpleNamespace:
        cells = nn.functional.avg_pool2d(pixels, 4)
        mixed = torch.einsum("oc,bchw->bohw", torch.linalg.inv(WEIGHTS.T), cells) * 0.5
        return SimpleNamespace(latent_dist=SimpleNamespace(mean=mixed))

    def decode(self, latents: Tensor, return_dict: bool = True) -> tuple[Tensor]:
        return (interpolate(torch.einsum("co,bchw->bohw", WEIGHTS, latents), scale_factor=4.0),)


def test_a_linear_decoder_is_found_again() -> None:
    weights, bias = fit_preview_map(LinearCode(), 4)
    # decode(latents / 0.5 + 0.25) / 2 + 0.5
    assert np.allclose(weights, WEIGHTS.numpy(), atol=1e-2)
    assert np.allclose(bias, WEIGHTS.sum(0).numpy() * 0.25 / 2 + 0.5, atol=1e-2)
