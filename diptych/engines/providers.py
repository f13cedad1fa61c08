"""Which of ONNX Runtime's execution providers run a graph, and with which options. Pure: told what is there."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal

from diptych.errors import FailedPrecondition

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
# The plugin provider of the package onnxruntime-ep-nv-tensorrt-rtx-cu13; it has to be registered first.
RTX = "NvTensorRTRTXExecutionProvider"
# Providers of ONNX Runtime on a GPU, and what a TensorRT engine says of itself.
GPU_PROVIDERS = (CUDA, TENSORRT, RTX, "CUDA")
Preference = Literal["auto", "onnx", "tensorrt"]

# The TensorRT provider compiles for minutes when a graph is opened, so it is never chosen unasked. The RTX plugin
# compiles in seconds.
_ORDER: dict[str, tuple[str, ...]] = {
    "auto": (RTX, CUDA, CPU),
    "onnx": (CUDA, CPU),
    "tensorrt": (RTX, TENSORRT),
}
Provider = tuple[str, dict[str, str]]
# The options by which providers record runs as CUDA graphs.
REPLAY = ("enable_cuda_graph", "trt_cuda_graph_enable")


def choose_providers(
    available: Collection[str],
    preference: Preference = "auto",
    *,
    fixed_shapes: bool = False,
    records: bool = False,
    half: bool = False,
    cache: Path | None = None,
) -> list[Provider]:
    """The providers to give a session, best first, each with its options.

    `fixed_shapes`: every input has one shape only, so that a GPU may record the run once as a CUDA graph and replay
    it; `records`: runs of other graphs may be recorded too, by their shapes, where the provider can. `half`: it
    computes in half precision. `cache`: where compiled engines are kept. FailedPrecondition when TensorRT is asked for
    and none is there.
    """
    order = _ORDER[preference]
    found = [name for name in order if name in available]
    if not found:
        raise FailedPrecondition(
            f"no TensorRT runs graphs here: this ONNX Runtime has {', '.join(sorted(available))}; install "
            "onnxruntime-ep-nv-tensorrt-rtx-cu13 on a machine with an RTX GPU, or ask for another engine",
            reason="PROVIDER_MISSING",
        )
    if preference == "tensorrt":  # What TensorRT cannot run falls to the next.
        found += [name for name in (CUDA, CPU) if name in available]
    return [(name, _options(name, fixed_shapes or (records and name == CUDA), half, cache)) for name in found]


def names_of(providers: Sequence[Provider]) -> list[str]:
    """The names alone."""
    return [name for name, _ in providers]


def replays(providers: Sequence[Provider]) -> bool:
    """Whether the first provider records runs as CUDA graphs: inputs and outputs must then keep their places."""
    options = providers[0][1]
    return any(options.get(name) == "1" for name in REPLAY)


def _options(name: str, replays: bool, half: bool, cache: Path | None) -> dict[str, str]:
    if name == CUDA:
        # Found by trying each algorithm once: worth its time for shapes that come again, as all do here.
        # Memory is taken as it is asked for: by powers of two, weights of 3 GB would take 4.
        options = {
            "cudnn_conv_algo_search": "EXHAUSTIVE",
            # Without it cuDNN may use no tensor cores at all, half precision's neither.
            "use_tf32": "1" if half else "0",
            "arena_extend_strategy": "kSameAsRequested",
        }
        return {**options, "enable_cuda_graph": "1"} if replays else options
    if name == RTX:
        options = {"nv_runtime_cache_path": str(cache)} if cache is not None else {}
        return {**options, "enable_cuda_graph": "1"} if replays else options
    if name == TENSORRT:
        options = {"trt_fp16_enable": "0"}
        if cache is not None:
            options |= {
                "trt_engine_cache_enable": "1",
                "trt_engine_cache_path": str(cache),
                "trt_timing_cache_enable": "1",
                "trt_timing_cache_path": str(cache),
            }
        return {**options, "trt_cuda_graph_enable": "1"} if replays else options
    return {}
