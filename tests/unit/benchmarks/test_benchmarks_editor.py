"""The editor's benchmark judges what it measured."""

from benchmarks.editor import ASKED, MOST_BYTES, Cost, asked, growth, judge, photo
from diptych.operations import parse_operation
from services.editor.operations import EDITS


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


def test_every_operation_can_be_asked_for(tmp_path) -> None:
    image = photo(0.1)
    other = tmp_path / "other.jpg"
    image.save(other)
    assert set(EDITS) <= set(ASKED)
    for name in EDITS:
        message = parse_operation(asked(name, image, other))
        assert message.WhichOneof("operation") == name
