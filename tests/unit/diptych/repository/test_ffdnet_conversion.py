"""FFDNet's torch weights as ONNX: the same numbers as in torch, and nothing but numbers is read."""

import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from diptych.engines.onnx import OnnxEngine
from diptych.errors import DataCorrupted
from diptych.repository.ffdnet import write_onnx
from diptych.repository.torch_weights import read_weights


def network(width: int = 6) -> nn.Sequential:
    torch.manual_seed(3)
    convolutions = [nn.Conv2d(13, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)]
    last = nn.Conv2d(width, 12, 3, padding=1)
    return nn.Sequential(convolutions[0], nn.ReLU(), convolutions[1], nn.ReLU(), last)


def save(path: Path, content: object, *, zipped: bool = False) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


def weights(net: nn.Sequential) -> OrderedDict[str, torch.Tensor]:
    return OrderedDict((f"model.{name}", tensor) for name, tensor in net.state_dict().items())


def test_the_graph_computes_what_torch_computes(tmp_path: Path) -> None:
    net = network()
    write_onnx(save(tmp_path / "a.pth", weights(net)), tmp_path / "a.onnx")
    picture, sigmas = torch.rand(2, 3, 10, 14), torch.rand(2, 1, 5, 7)
    with torch.no_grad():
        phases = nn.functional.pixel_unshuffle(picture, 2)
        wanted = nn.functional.pixel_shuffle(net(torch.cat([phases, sigmas], 1)), 2).numpy()
    told = np.concatenate([picture.numpy(), sigmas.numpy().repeat(2, 2).repeat(2, 3)], axis=1)
    given = OnnxEngine(tmp_path / "a.onnx", threads=1).run({"image": told})["denoised"]
    assert given == pytest.approx(wanted, abs=1e-5)


def test_the_file_is_the_same_each_time(tmp_path: Path) -> None:
    source = save(tmp_path / "a.pth", weights(network()))
    for name in ("a", "b"):
        write_onnx(source, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("called",))


@pytest.mark.parametrize("content", [Harmful(), {"model.0.weight": torch.zeros(2, dtype=torch.float64)}])
def test_what_is_no_float_tensor_is_refused_uncalled(
    tmp_path: Path, content: object, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DataCorrupted, match="cannot be read"):
        read_weights(save(tmp_path / "a.pth", content))
    assert "called" not in capsys.readouterr().out


def test_other_files_are_refused(tmp_path: Path) -> None:
    whole = save(tmp_path / "a.pth", weights(network())).read_bytes()
    for content in (b"", whole[:-8], whole[:40], pickle.dumps(1) * 5):
        (tmp_path / "b.pth").write_bytes(content)
        with pytest.raises(DataCorrupted):
            read_weights(tmp_path / "b.pth")
    with pytest.raises(DataCorrupted):
        read_weights(save(tmp_path / "zip.pth", weights(network()), zipped=True))


def test_other_networks_are_refused(tmp_path: Path) -> None:
    others = [OrderedDict(x=torch.zeros(2)), weights(network()[2:]), weights(network()[:1])]
    for other in others:
        with pytest.raises(DataCorrupted, match="FFDNet"):
            write_onnx(save(tmp_path / "a.pth", other), tmp_path / "a.onnx")
