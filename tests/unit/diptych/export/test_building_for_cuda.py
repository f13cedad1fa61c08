"""Graphs with operations that CUDA alone has, computed here with those operations written out."""

import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from diptych.engines.base import Array
from diptych.export import modules
from diptych.export.build_cuda import faster_for_cuda, fuse_for_cuda
from diptych.export.build_graph import simplify
from diptych.export.build_precision import to_half
from diptych.export.graph import export_graph


class GroupNorm(OpRun):
    op_domain = "com.microsoft"

    def _run(self, x, gamma, beta, activation=None, channels_last=1, epsilon=None, groups=None):  # type: ignore[no-untyped-def]
        assert channels_last == 1 and gamma.dtype == beta.dtype == np.float32
        parts = x.astype(np.float32).reshape(x.shape[0], -1, groups, x.shape[-1] // groups)
        parts = parts - parts.mean((1, 3), keepdims=True)
        parts = parts / np.sqrt((parts**2).mean((1, 3), keepdims=True) + epsilon)
        y = parts.reshape(x.shape) * gamma + beta
        if activation:
            y = y / (1 + np.exp(-y))
        return (y.astype(x.dtype),)


class NhwcConv(OpRun):
    op_domain = "com.microsoft"

    def _run(self, x, w, bias=None, auto_pad=None, dilations=None, group=1, kernel_shape=None, pads=None, strides=None):  # type: ignore[no-untyped-def]
        assert x.dtype == w.dtype and group == 1
        image, weights = (torch.tensor(np.float32(one)).permute(0, 3, 1, 2) for one in (x, w))
        shift = None if bias is None else torch.tensor(np.float32(bias))
        y = torch.conv2d(image, weights, shift, stride=tuple(strides), padding=tuple(pads[:2]))
        return (y.permute(0, 2, 3, 1).numpy().astype(x.dtype),)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """A UNet of few channels, simplified, and inputs."""
    folder = tmp_path_factory.mktemp("unet")
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=8,
        attention_head_dim=2,
        norm_num_groups=4,
    ).eval()
    graph = modules.unet(unet, tokens=5)
    export_graph(graph, folder / "exported")
    inputs = {name: tensor.numpy() for name, tensor in graph.inputs.items()}
    return simplify(folder / "exported" / "model.onnx", folder / "work"), inputs


@pytest.mark.parametrize("half", [False, True])
def test_the_graph_for_cuda_computes_the_same(
    exported: tuple[onnx.ModelProto, dict[str, Array]], tmp_path: Path, half: bool
) -> None:
    model, inputs = exported
    expected = ReferenceEvaluator(model).run(None, inputs)[0]
    fused = onnx.ModelProto()
    fused.CopyFrom(to_half(model, tmp_path) if half else model)
    counts = fuse_for_cuda(fused)
    norms = sum(node.op_type == "InstanceNormalization" for node in model.graph.node)
    convolutions = sum(node.op_type == "Conv" for node in model.graph.node)
    assert counts == {"GroupNorm": norms, "NhwcConv": convolutions}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # Half precision overflows in exp, as it should.
        found = ReferenceEvaluator(fused, new_ops=[GroupNorm, NhwcConv]).run(None, inputs)[0]
    assert np.abs(found - expected).max() < (2e-2 if half else 1e-4) * np.abs(expected).max()


def test_where_cuda_cannot_run_them_the_graph_stays_as_it_is(
    exported: tuple[onnx.ModelProto, dict[str, Array]], tmp_path: Path
) -> None:
    model, inputs = exported
    half = to_half(model, tmp_path)
    kept, notes = faster_for_cuda(half, inputs, tmp_path)  # On a CPU, whose ONNX Runtime has neither operation.
    assert kept is half and notes == [] and list(tmp_path.iterdir()) == []
