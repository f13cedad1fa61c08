"""The latent space: a fixed linear code of 4 px patches, fitted to the art by principal components.

Being linear, it costs nothing to encode, needs no training of its own, and the decoder can be improved at any time
without touching the denoiser.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_unshuffle

from training.generator.prepare import read_config


class PatchCode(nn.Module):
    """(B, 3, 64, 64) pixels in -1..1 -> (B, channels, 16, 16) latents, and the least-squares way back."""

    def __init__(self, patch: int, channels: int) -> None:
        super().__init__()
        self.patch = patch
        self.register_buffer("mean", torch.zeros(3 * patch * patch))
        self.register_buffer("forward_matrix", torch.zeros(channels, 3 * patch * patch))
        self.register_buffer("inverse_matrix", torch.zeros(3 * patch * patch, channels))

    def encode(self, pixels: Tensor) -> Tensor:
        """Latents of pixels."""
        patches = pixel_unshuffle(pixels, self.patch) - self.mean[:, None, None]
        return torch.einsum("kp,bphw->bkhw", self.forward_matrix, patches)

    def decode(self, latents: Tensor) -> Tensor:
        """Pixels of latents: the projection onto the kept components, blocky where detail was dropped."""
        patches = torch.einsum("pk,bkhw->bphw", self.inverse_matrix, latents) + self.mean[:, None, None]
        return nn.functional.pixel_shuffle(patches, self.patch)


def fit(pictures: np.ndarray, settings: dict[str, Any]) -> PatchCode:
    """The code of `settings["channels"]` components fitted to (N, 64, 64, 3) uint8 pictures."""
    code = PatchCode(settings["patch"], settings["channels"])
    pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    patches = pixel_unshuffle(pixels, settings["patch"]).permute(0, 2, 3, 1).flatten(0, 2).double()
    mean = patches.mean(0)
    centred = patches - mean
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))
    deviations = values.flip(0)[: settings["channels"]].sqrt()
    basis = vectors.flip(1)[:, : settings["channels"]]
    basis = basis * torch.sign(basis.sum(0))
    divisor = deviations ** settings["whitening"]
    scaled = deviations / divisor
    divisor = divisor * scaled.square().mean().sqrt() / settings["scale"]
    code.mean.copy_(mean)
    code.forward_matrix.copy_(basis.T / divisor[:, None])
    code.inverse_matrix.copy_(basis * divisor[None])
    print("deviation of each latent channel:", [round(v, 3) for v in (deviations / divisor).tolist()])
    return code


def load_code(work: Path) -> PatchCode:
    """The fitted code of a work folder."""
    settings = read_config()["latents"]
    code = PatchCode(settings["patch"], settings["channels"])
    code.load_state_dict(torch.load(work / "code.pt", weights_only=True))
    return code.eval().requires_grad_(False)


def main() -> None:
    """Fits the code and writes code.pt."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path(".build/generator"))
    work: Path = parser.parse_args().work
    rng = np.random.default_rng(read_config()["seed"])
    pictures = np.load(work / "pictures.npy", mmap_mode="r")
    chosen = np.sort(rng.choice(len(pictures), 3000, replace=False))
    code = fit(pictures[chosen], read_config()["latents"])
    torch.save(code.state_dict(), work / "code.pt")


if __name__ == "__main__":
    main()
