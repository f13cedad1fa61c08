"""The editor's benchmark judges what it measured."""

import numpy as np
from PIL import Image

from benchmarks.editor import ASKED, MOST_BYTES, Cost, asked, earlier, growth, judge, report
from benchmarks.photograph import photograph
from diptych.operations import parse_operation
from services.editor.operations import EDITS
from services.editor.pixels.noise import measure_noise
from services.editor.pixels.smooth_parts import only_noise


def linear(name: str, milliseconds: float, peak: int = 10**9) -> list[Cost]:
    return [Cost(name, size, milliseconds * size, peak) for size in (0.5, 2.0, 12.0, 24.0)]


def test_what_is_as_it_must_be_passes() -> None:
    assert judge(linear("crop", 3)) == []


def test_time_that_grows_faster_than_pixels_is_told() -> None:
    costs = [Cost("crop", size, size**1.5, 1) for size in (0.5, 2.0, 12.0, 24.0)]
    assert abs((growth(costs) or 0) - 1.5) < 1e-9
    (fault,) = judge(costs)
    assert "1.50" in fault


def test_too_much_memory_and_failures_are_told() -> None:
    costs = [Cost("crop", 24.0, 1, MOST_BYTES + 1), Cost("rotate", 24.0, failed="is broken")]
    assert ["2.50 GB" in judge(costs)[1], "is broken" in judge(costs)[0]] == [True, True]


def test_what_is_measured_anew_replaces_what_was_known(tmp_path) -> None:
    report([*linear("crop", 3), *linear("rotate", 5)], [], tmp_path)
    costs = earlier(tmp_path / "editor.json", [Cost("rotate", 12.0, 7, 8), Cost("denoise", 2.0, 9, 10)])
    found = {(cost.operation, cost.megapixels): cost.milliseconds for cost in costs}
    assert (found["crop", 12.0], found["rotate", 12.0], found["rotate", 24.0], found["denoise", 2.0]) == (36, 7, 120, 9)
    assert len(costs) == 9
    assert {path.name for path in tmp_path.iterdir()} == {"editor.json", "editor.png", "editor.md"}


def test_the_photograph_has_noise_and_detail_at_every_size() -> None:
    for megapixels in (0.1, 1.0):
        picture = photograph(megapixels)
        found = measure_noise(picture)
        assert 2 < found.typical < 9
        parts = [
            only_noise(picture[top : top + 64, left : left + 64].transpose(2, 0, 1).astype(np.float32) / 255, found)
            for top in range(0, len(picture) - 63, 64)
            for left in range(0, len(picture) - 63, 64)
        ]
        assert not all(parts)


def test_every_operation_can_be_asked_for(tmp_path) -> None:
    assert set(EDITS) <= set(ASKED)
    for name in EDITS:
        other = tmp_path / "other.jpg"
        Image.fromarray(photograph(0.01)).save(other)
        assert parse_operation(asked(name, 400, 300, other)).WhichOneof("operation") == name
