from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diptych.engines.onnx import OnnxEngine
from diptych.errors import DataCorrupted
from diptych.repository import ModelRepository
from diptych.repository.ncnn import write_onnx

from .conftest import Workbench, ncnn_bin, sha256

# The layers of SPAN and of SRVGGNetCompact at two channels: centring, attention, concatenation, PReLU, a shortcut.
PARAM = """7767517
15 20
Input in 0 1 data
Split s0 1 2 data d0 d1
MemoryData mean 0 1 mean 0=1 1=1 2=3
BinaryOp sub 2 1 d0 mean centred 0=1
BinaryOp gain 1 1 centred scaled 0=2 1=1 2=2.5e+00
Convolution c1 1 1 scaled f 0=2 1=3 4=1 5=1 6=54
Split s1 1 3 f f0 f1 f2
Swish act 1 1 f0 a
Sigmoid gate 1 1 f1 g
BinaryOp half 1 1 g h 0=1 1=1 2=5e-01
Concat cat 3 1 a h f2 all
Convolution c2 1 1 all wide 0=12 1=1 6=72
PReLU p 1 1 wide bent 0=12
PixelShuffle up 1 1 bent shuffled 0=2
Interp near 1 1 d1 large 0=1 1=2.0 2=2.0
BinaryOp add 2 1 shuffled large out 0=0
""".replace("15 20", "16 20")


@dataclass(frozen=True)
class Numbers:
    mean: np.ndarray
    kernel: np.ndarray
    bias: np.ndarray
    mix: np.ndarray
    slope: np.ndarray

    def file(self) -> bytes:
        return ncnn_bin(
            [
                ("plain", self.mean),
                ("half", self.kernel.ravel()),
                ("plain", self.bias),
                ("single", self.mix.ravel()),
                ("plain", self.slope),
            ]
        )

    def apply(self, image: np.ndarray) -> np.ndarray:
        """What the network computes on (3, H, W), written out in numpy."""
        height, width = image.shape[1:]
        scaled = (image - self.mean[:, None, None]) * 2.5
        padded = np.pad(scaled, ((0, 0), (1, 1), (1, 1)))
        features = self.bias[:, None, None] + sum(
            np.einsum("oc,chw->ohw", self.kernel[:, :, y, x], padded[:, y : y + height, x : x + width])
            for y in range(3)
            for x in range(3)
        )
        gate = 1 / (1 + np.exp(-features))
        together = np.concatenate([features * gate, gate - 0.5, features])
        wide = np.einsum("oc,chw->ohw", self.mix, together)
        bent = np.where(wide > 0, wide, wide * self.slope[:, None, None])
        shuffled = bent.reshape(3, 2, 2, height, width).transpose(0, 3, 1, 4, 2).reshape(3, 2 * height, 2 * width)
        result: np.ndarray = np.clip(shuffled + image.repeat(2, 1).repeat(2, 2), 0, 1)
        return result


@pytest.fixture
def numbers() -> Numbers:
    random = np.random.default_rng(3)

    def draw(*shape: int) -> np.ndarray:
        return random.uniform(-0.4, 0.4, shape).astype(np.float16).astype(np.float32)

    return Numbers(draw(3), draw(2, 3, 3, 3), draw(2), draw(12, 6), draw(12))


def convert(folder: Path, param: str, weights: bytes) -> Path:
    (folder / "net.param").write_text(param)
    (folder / "net.bin").write_bytes(weights)
    write_onnx(folder / "net.param", folder / "net.bin", folder / "net.onnx")
    return folder / "net.onnx"


def test_computes_what_the_network_computes_at_any_size(tmp_path: Path, numbers: Numbers) -> None:
    engine = OnnxEngine(convert(tmp_path, PARAM, numbers.file()), threads=1)
    assert engine.inputs[0].shape == ("N", 3, "H", "W")
    assert engine.outputs[0].shape == ("N", 3, "2H", "2W")
    for height, width in ((4, 7), (9, 5)):
        images = np.random.default_rng(height).random((2, 3, height, width), np.float32)
        upscaled = engine.run({"image": images})["upscaled"]
        expected = np.stack([numbers.apply(image) for image in images])
        assert np.mean((expected > 0) & (expected < 1)) > 0.01
        np.testing.assert_allclose(upscaled, expected, atol=2e-6)


def test_gives_the_same_bytes_each_time(tmp_path: Path, numbers: Numbers) -> None:
    first = convert(tmp_path, PARAM, numbers.file()).read_bytes()
    assert convert(tmp_path, PARAM, numbers.file()).read_bytes() == first


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("Swish act", "Softmax act", "the layer Softmax act"),
        ("7767517\n", "7767518\n", "does not start as an ncnn network"),
        ("16 20", "17 20", "has 16 layers of 17"),
        ("Swish act 1 1 f0 a", "Swish act 1 1 nothing a", "layer act reads what no layer wrote"),
        ("Swish act 1 1 f0 a", "Swish act 1 one f0 a", "a line that is no layer"),
        ("0=2 1=3 4=1 5=1 6=54", "0=2 1=3 4=1 5=1 6=55", "the convolution c1"),
        ("0=2 1=3 4=1 5=1 6=54", "0=2 1=3 3=2 4=1 5=1 6=54", "Convolution c1 with parameter 3=2"),
        ("Interp near 1 1 d1 large 0=1", "Interp near 1 1 d1 large 0=3", "the resizing near"),
        ("BinaryOp half 1 1 g h 0=1", "BinaryOp half 1 1 g h 0=9", "the operation 9 of half"),
        ("PixelShuffle up 1 1 bent shuffled 0=2", "PixelShuffle up 1 1 bent shuffled 0=0", "PixelShuffle up with"),
    ],
)
def test_names_what_it_cannot_rewrite(tmp_path: Path, numbers: Numbers, old: str, new: str, fault: str) -> None:
    assert old in PARAM
    with pytest.raises(DataCorrupted, match=fault):
        convert(tmp_path, PARAM.replace(old, new), numbers.file())


def test_weights_of_the_wrong_length_or_kind_are_refused(tmp_path: Path, numbers: Numbers) -> None:
    weights = numbers.file()
    with pytest.raises(DataCorrupted, match="4 bytes too many"):
        convert(tmp_path, PARAM, weights + b"\0" * 4)
    with pytest.raises(DataCorrupted, match="with the tag 0x000d4b38"):
        convert(
            tmp_path, PARAM, weights.replace((0x01306B47).to_bytes(4, "little"), (0x000D4B38).to_bytes(4, "little"))
        )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(data=st.data())
def test_damage_is_always_reported_as_such(tmp_path: Path, numbers: Numbers, data: st.DataObject) -> None:
    lines = PARAM.splitlines()
    weights = numbers.file()
    if data.draw(st.booleans(), "cut the weights"):
        weights = weights[: data.draw(st.integers(0, len(weights) - 1))]
    else:
        index = data.draw(st.integers(0, len(lines) - 1))
        words = lines[index].split(" ")
        words[data.draw(st.integers(0, len(words) - 1))] = data.draw(st.sampled_from(["", "x", "-1", "0=-1", "1=nan"]))
        lines[index] = " ".join(words)
        if lines == PARAM.splitlines():
            return
    try:
        convert(tmp_path, "\n".join(lines), weights)
    except DataCorrupted as error:
        assert error.reason in {"NCNN_UNREADABLE", "NCNN_UNSUPPORTED"}
    else:
        assert weights == numbers.file()  # a renamed layer, or a parameter that nothing reads


def test_a_network_in_a_wheel_becomes_a_model(workbench: Workbench, numbers: Numbers, tmp_path: Path) -> None:
    expected = convert(tmp_path, PARAM, numbers.file()).read_bytes()
    members = {"nets/net.param": PARAM.encode(), "nets/net.bin": numbers.file()}
    workbench.wheel("nets", members)
    listed = ", ".join(f'{{ path = "{path}", sha256 = "{sha256(content)}" }}' for path, content in members.items())
    source = f'source = {{ type = "python", package = "nets", version = "1.0", members = [{listed}] }}'
    entry = (
        f'[[files]]\npath = "model.onnx"\nsha256 = "{sha256(expected)}"\nconversion = {{ type = "ncnn" }}\n{source}\n'
    )
    workbench.manifest("net", entry)
    repository: ModelRepository = workbench.repository()
    said: list[str] = []
    assert (repository.pull("net", progress=said.append) / "model.onnx").read_bytes() == expected
    assert "Converting net/model.onnx" in said

    workbench.manifest("net", entry.replace(sha256(members["nets/net.bin"]), "0" * 64))
    repository.pull("net")  # the result is there, so the members are not fetched
    workbench.manifest(
        "net", entry.replace(sha256(members["nets/net.bin"]), "0" * 64).replace(sha256(expected), "1" * 64)
    )
    with pytest.raises(DataCorrupted, match=r"nets/net.bin of nets 1.0 has sha256 .* do not use it"):
        repository.pull("net")
