"""What runs a graph on machines that are not here: the choice is a function of what a machine has."""

from pathlib import Path

import pytest

from diptych.engines.machine import Machine
from diptych.engines.providers import CPU, CUDA, RTX, TENSORRT, choose_providers, names_of, replays
from diptych.engines.select import FOR_CUDA, Variant, choose_variant
from diptych.errors import FailedPrecondition

LAPTOP = Machine((CPU,))
RENTED = Machine((CUDA, CPU), "sm86", {"tensorrt_rtx": "1.7.1"})
RTX_HERE = Machine((RTX, CUDA, CPU), "sm89", {"tensorrt": "10.1", "tensorrt_rtx": "1.7.1"})


def graph(precision: str = "fp32", *, provider: str = CPU, speedup: float = 2.0) -> Variant:
    return Variant("onnxruntime", "1.32.0", precision, provider=provider, speedup=speedup)  # type: ignore[arg-type]


def engine(target: str, *, checked: bool = True, version: str = "1.7.1", precision: str = "fp16") -> Variant:
    return Variant("tensorrt_rtx", version, precision, target, checked)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("available", "preference", "expected"),
    [
        ([CPU], "auto", [CPU]),
        (["AzureExecutionProvider", CPU], "auto", [CPU]),
        ([TENSORRT, CUDA, CPU], "auto", [CUDA, CPU]),
        ([TENSORRT, CUDA, CPU], "tensorrt", [TENSORRT, CUDA, CPU]),
        ([RTX, TENSORRT, CUDA, CPU], "tensorrt", [RTX, TENSORRT, CUDA, CPU]),
        ([RTX, CPU], "auto", [RTX, CPU]),
        ([RTX, CUDA, CPU], "onnx", [CUDA, CPU]),
    ],
)
def test_providers_best_first(available: list[str], preference: str, expected: list[str]) -> None:
    assert names_of(choose_providers(available, preference)) == expected  # type: ignore[arg-type]


def test_tensorrt_that_is_not_there_is_said() -> None:
    with pytest.raises(FailedPrecondition, match="onnxruntime-ep-nv-tensorrt-rtx-cu13"):
        choose_providers([CPU], "tensorrt")


@pytest.mark.parametrize(
    ("available", "preference"), [([CUDA, CPU], "auto"), ([RTX], "auto"), ([TENSORRT], "tensorrt")]
)
def test_a_gpu_records_when_it_is_asked_to(available: list[str], preference: str) -> None:
    assert replays(choose_providers(available, preference, fixed_shapes=True))  # type: ignore[arg-type]
    assert not replays(choose_providers(available, preference))  # type: ignore[arg-type]
    assert not replays(choose_providers([CPU], fixed_shapes=True))


def test_cuda_records_shapes_that_come_again_and_others_do_not() -> None:
    assert replays(choose_providers([CUDA, CPU], records=True))
    for available, preference in (([RTX, CPU], "auto"), ([TENSORRT, CPU], "tensorrt"), ([CPU], "auto")):
        assert not replays(choose_providers(available, preference, records=True))  # type: ignore[arg-type]


def test_what_is_compiled_is_kept_where_it_is_told(tmp_path: Path) -> None:
    for name, preference in ((RTX, "auto"), (TENSORRT, "tensorrt")):
        options = dict(choose_providers([name], preference, cache=tmp_path))[name]  # type: ignore[arg-type]
        assert str(tmp_path) in options.values()


def test_the_fastest_measured_graph_runs_and_none_that_is_slower() -> None:
    slow, fast, fastest = graph("fp16", speedup=0.4), graph(speedup=1.1), graph("int8", speedup=1.9)
    assert choose_variant([slow], LAPTOP) is None
    assert choose_variant([slow, fast, fastest], LAPTOP) is fastest
    assert choose_variant([fast, fastest], LAPTOP, "fake") is None


def test_a_graph_for_cuda_runs_on_cuda_and_nowhere_else() -> None:
    special = Variant("onnxruntime", "1.32.0", "fp16", FOR_CUDA, provider=CUDA, speedup=3.0)
    portable = graph("fp16", provider=CUDA, speedup=2.0)
    assert choose_variant([special, portable], RENTED) is special
    assert choose_variant([special], Machine((RTX, CUDA, CPU), "sm89")) is None
    assert choose_variant([special], LAPTOP) is None


def test_an_engine_runs_on_its_gpu_with_its_version_only() -> None:
    right = engine("sm89")
    others = [engine("sm86"), engine("sm89", version="1.6.0"), engine("sm120")]
    assert choose_variant([*others, right], RTX_HERE) is right
    assert choose_variant(others, RTX_HERE) is None
    assert choose_variant([right], LAPTOP) is None
    assert choose_variant([right], RTX_HERE, "onnx") is None


def test_an_engine_that_never_ran_is_taken_only_when_asked_for() -> None:
    unchecked = engine("sm86", checked=False)
    assert choose_variant([unchecked], RENTED) is None
    with pytest.raises(FailedPrecondition):
        choose_variant([], RENTED, "tensorrt")
    assert choose_variant([unchecked], RENTED, "tensorrt") is unchecked


def test_half_precision_is_taken_on_a_gpu_where_nothing_was_measured() -> None:
    half = graph("fp16", speedup=0.3)
    assert choose_variant([graph(), half, graph("int8")], RENTED) is half
    measured = graph("fp32", provider=CUDA, speedup=1.4)
    assert choose_variant([half, measured], RENTED) is measured


def test_mnn_runs_where_it_was_measured_on_a_cpu_with_its_version() -> None:
    built = Variant("mnn", "3.6.1", "fp32", provider="CPU", speedup=1.8)
    here = Machine((CPU,), mnn="3.6.1")
    assert choose_variant([graph(speedup=1.1), built], here) is built
    assert choose_variant([graph(speedup=1.9), built], here) != built
    assert choose_variant([built], here, "onnx") is None
    assert choose_variant([built], LAPTOP) is None
    assert choose_variant([built], Machine((CPU,), mnn="3.7.0")) is None
    assert choose_variant([built], Machine((CUDA, CPU), "sm86", mnn="3.6.1")) is None
