"""What this machine can run engines with: providers of ONNX Runtime, a GPU, TensorRT."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module, metadata
from importlib.util import find_spec
from typing import Any

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from diptych.engines.cuda import capability
from diptych.engines.providers import CUDA, RTX

_LOG = logging.getLogger(__name__)
_PLUGIN = "onnxruntime_ep_nv_tensorrt_rtx"
# Name of the engine -> modules that are it. The wheels of TensorRT for RTX carry their bindings under a longer name.
MODULES: Mapping[str, tuple[str, ...]] = {
    "tensorrt_rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings"),
    "tensorrt": ("tensorrt", "tensorrt_bindings"),
}


@dataclass(frozen=True)
class Machine:
    """`providers` of ONNX Runtime; `gpu`, the compute capability of the first GPU such as `sm89`, empty without one;
    `tensorrt`, versions of the TensorRT modules by engine name; `mnn`, the version of MNN, empty without it."""

    providers: tuple[str, ...]
    gpu: str = ""
    tensorrt: Mapping[str, str] = field(default_factory=dict)
    mnn: str = ""


@lru_cache(1)
def this_machine() -> Machine:
    """The machine that this process runs on, looked at once."""
    gpu = capability()
    providers = tuple(onnxruntime.get_available_providers())
    if gpu and CUDA in providers:
        onnxruntime.preload_dlls()  # NVIDIA's wheels have its libraries where the system does not look.
    if gpu and rtx_devices():
        providers = (RTX, *providers)
    # TensorRT's libraries are large: without a GPU, only who builds for one loads them.
    return Machine(providers, gpu, tensorrt_versions() if gpu else {}, mnn_version())


def cores() -> int:
    """Cores that this process may use."""
    # The affinity knows of containers and taskset; not every system has it.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def mnn_version() -> str:
    """The version of MNN, empty where it is not installed."""
    return metadata.version("MNN") if find_spec("MNN") is not None else ""


def tensorrt_versions() -> dict[str, str]:
    """Version by engine name of each TensorRT that is installed."""
    return {name: str(module.__version__) for name in MODULES if (module := tensorrt_module(name)) is not None}


def tensorrt_module(engine: str) -> Any:
    """The Python module of `tensorrt` or `tensorrt_rtx`, None where it is not installed."""
    for name in MODULES[engine]:
        if find_spec(name) is not None:
            return import_module(name)
    return None


@lru_cache(1)
def rtx_devices() -> list[Any]:
    """ONNX Runtime's devices of the TensorRT-RTX plugin, once it is registered; none where it cannot be."""
    if find_spec(_PLUGIN) is None:
        return []
    try:
        onnxruntime.register_execution_provider_library(RTX, import_module(_PLUGIN).get_library_path())
    except (ImportError, OSError, ort_errors.Fail, ort_errors.RuntimeException) as error:
        _LOG.warning("the TensorRT-RTX provider is installed and cannot start: %s", error)
        return []
    return [device for device in onnxruntime.get_ep_devices() if device.ep_name == RTX]
