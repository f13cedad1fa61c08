"""NVIDIA's driver through ctypes: memory, copies and a stream, and what kind of GPU is there.

The driver's own library is all that is used: it is there wherever a GPU can be used at all, and no package has to be
installed. Every call is checked.
"""

import ctypes
import sys
from functools import lru_cache

from diptych.engines.base import Array
from diptych.errors import FailedPrecondition, InternalError

_LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING
_HANDLE, _SIZE = ctypes.c_void_p, ctypes.c_size_t


class Driver:
    """The driver's calls on the first GPU; FailedPrecondition where there is none."""

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL(_LIBRARY)
        except OSError as error:
            raise FailedPrecondition(
                "there is no NVIDIA driver on this machine; engines for GPUs cannot run here", reason="NO_GPU"
            ) from error
        self._call("cuInit", ctypes.c_uint(0))
        device = ctypes.c_int()
        self._call("cuDeviceGet", ctypes.byref(device), ctypes.c_int(0))
        self._device = device
        context = _HANDLE()
        # The primary context is the one that TensorRT and ONNX Runtime use too.
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self._context = context

    @property
    def capability(self) -> str:
        """The GPU's compute capability, such as `sm89`."""
        parts = []
        for attribute in (_MAJOR, _MINOR):
            value = ctypes.c_int()
            self._call("cuDeviceGetAttribute", ctypes.byref(value), ctypes.c_int(attribute), self._device)
            parts.append(value.value)
        return f"sm{parts[0]}{parts[1]}"

    @property
    def name(self) -> str:
        """The GPU's name."""
        text = ctypes.create_string_buffer(256)
        self._call("cuDeviceGetName", text, ctypes.c_int(256), self._device)
        return text.value.decode()

    def enter(self) -> None:
        """Makes the calling thread work on this GPU. Contexts belong to threads, so every caller does it."""
        self._call("cuCtxSetCurrent", self._context)

    def memory(self) -> tuple[int, int]:
        """Free and total bytes of the GPU's memory."""
        self.enter()
        free, total = _SIZE(), _SIZE()
        self._call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return free.value, total.value

    def stream(self) -> int:
        """A new stream."""
        stream = _HANDLE()
        self._call("cuStreamCreate", ctypes.byref(stream), ctypes.c_uint(_NON_BLOCKING))
        return stream.value or 0

    def end_stream(self, stream: int) -> None:
        """Destroys a stream."""
        self._call("cuStreamDestroy_v2", _HANDLE(stream))

    def wait(self, stream: int) -> None:
        """Returns when all that was queued on the stream is done."""
        self._call("cuStreamSynchronize", _HANDLE(stream))

    def allocate(self, size: int) -> int:
        """The address of `size` new bytes on the GPU."""
        address = _HANDLE()
        self._call("cuMemAlloc_v2", ctypes.byref(address), _SIZE(max(size, 1)))
        return address.value or 0

    def free(self, address: int) -> None:
        """Gives memory back."""
        self._call("cuMemFree_v2", _HANDLE(address))

    def copy_in(self, address: int, array: Array, stream: int) -> None:
        """Queues a copy of a contiguous array to the GPU; from pageable memory it has left the array on return."""
        self._call("cuMemcpyHtoDAsync_v2", _HANDLE(address), _HANDLE(array.ctypes.data), _SIZE(array.nbytes), stream)

    def copy_out(self, array: Array, address: int, stream: int) -> None:
        """Queues a copy from the GPU into a contiguous array."""
        self._call("cuMemcpyDtoHAsync_v2", _HANDLE(array.ctypes.data), _HANDLE(address), _SIZE(array.nbytes), stream)

    def copy_within(self, target: int, source: int, size: int, stream: int) -> None:
        """Queues a copy from one place on the GPU to another."""
        self._call("cuMemcpyDtoDAsync_v2", _HANDLE(target), _HANDLE(source), _SIZE(size), stream)

    def _call(self, name: str, *arguments: object) -> None:
        wrapped = [_HANDLE(value) if isinstance(value, int) else value for value in arguments]
        code = getattr(self._library, name)(*wrapped)
        if code:
            raise InternalError(f"the GPU's driver answered {name} with error {code}", reason="DEVICE_FAILED")


@lru_cache(1)
def driver() -> Driver:
    """The driver, started once."""
    return Driver()


def capability() -> str:
    """The first GPU's compute capability, such as `sm89`; empty where no GPU can be used."""
    try:
        return driver().capability
    except (FailedPrecondition, InternalError):
        return ""
