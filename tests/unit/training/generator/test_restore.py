"""From a published graph back to the weights that a training goes on with."""

from pathlib import Path

import numpy as np
import pytest
import torch

from training.generator.denoiser import build_denoiser
from training.generator.export import Velocity, example_inputs, write_graph
from training.generator.prepare import read_config
from training.generator.restore import read_decoder, read_denoiser


@pytest.mark.filterwarnings("ignore")  # the exporter's own
def test_a_denoiser_comes_back_out_of_its_graph(tmp_path: Path) -> None:
    config = read_config()
    config["denoiser"] |= {
        "block_out_channels": [16, 32],
        "attention_head_dim": 2,
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    }
    torch.manual_seed(5)
    model = build_denoiser(config["denoiser"]).eval()
    for parameter in model.parameters():  # Fresh norms are all alike, and the exporter keeps one of each kind.
        parameter.data.normal_()
    wanted = {name: p.detach().clone() for name, p in model.named_parameters()}
    path = tmp_path / "model.onnx"
    write_graph(Velocity(model), example_inputs(config), "out_sample", path)
    found = read_denoiser(path, config)
    assert found.keys() == wanted.keys()
    for name, weights in wanted.items():
        np.testing.assert_array_equal(found[name].numpy(), weights.numpy(), err_msg=name)


def test_the_published_latent_code_goes_there_and_back() -> None:
    decoder = read_decoder(Path("models/diptych-icons"), read_config())
    flat = torch.full((1, 3, 64, 64), 0.25)
    assert (decoder.linear.decode(decoder.linear.encode(flat)) - flat).abs().max() < 0.02
