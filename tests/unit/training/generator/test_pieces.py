"""What travels between machines arrives as it left."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from training.generator import parcel, pieces


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    """Two layers, more than one piece together."""
    torch.manual_seed(1)
    return {"first.weight": torch.randn(70, 3, 3, 3), "second.bias": torch.randn(9)}


def test_weights_come_back(tmp_path: Path, weights: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE", 1000)
    torch.save({"model": {}, "ema": weights, "progress": {"step": 7}}, tmp_path / "student.pt")
    pieces.pack(tmp_path / "student.pt", tmp_path / "out")
    assert len(list((tmp_path / "out").glob("student.*.bin"))) == 4
    pieces.unpack(tmp_path / "out", tmp_path / "back/student.pt")
    state = torch.load(tmp_path / "back/student.pt", weights_only=True)
    assert state["progress"] == {"step": 7}
    for name, wanted in weights.items():
        assert torch.equal(state["ema"][name], wanted.half().float())


def test_a_decoder_loses_nothing(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    torch.save({"decoder": weights, "step": 3}, tmp_path / "decoder.pt")
    pieces.pack(tmp_path / "decoder.pt", tmp_path)
    pieces.unpack(tmp_path, tmp_path / "back/decoder.pt")
    state = torch.load(tmp_path / "back/decoder.pt", weights_only=True)["decoder"]
    assert all(torch.equal(state[name], wanted) for name, wanted in weights.items())


def test_a_damaged_piece_is_refused(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    torch.save({"decoder": weights}, tmp_path / "decoder.pt")
    pieces.pack(tmp_path / "decoder.pt", tmp_path)
    piece = tmp_path / "decoder.0.bin"
    piece.write_bytes(b"\x00" + piece.read_bytes()[1:])
    with pytest.raises(ValueError, match=r"decoder\.0\.bin"):
        pieces.unpack(tmp_path, tmp_path / "back/decoder.pt")


def test_drawings_come_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    drawing = np.zeros((256, 256, 4), np.uint8)
    drawing[64:192, 64:192] = (*rng.integers(0, 256, 3), 255)
    drawing[60:64, 64:192] = (200, 30, 40, 90)
    work = tmp_path / "work"
    work.mkdir()
    np.save(work / "drawings.npy", np.stack([drawing, drawing[::-1]]))
    concept = {"noun": "box", "icons": ["box"], "others": [], "weight": 1.0}
    heads = [{"concept": 0, "pack": number, "icon": "box"} for number in range(2)]
    (work / "index.json").write_text(json.dumps({"concepts": [concept], "drawings": heads}))
    parcel.pack(work, tmp_path / "art.zip", 1)
    parcel.unpack(tmp_path / "there", tmp_path / "art.zip", 1)
    assert np.array_equal(np.load(tmp_path / "there/drawings.npy"), np.load(work / "drawings.npy"))
    index = json.loads((tmp_path / "there/index.json").read_text())
    assert [drawing["pack"] for drawing in index["drawings"]] == [0, 1]
    assert len(index["variants"]) == len(np.load(tmp_path / "there/variants.npy"))
