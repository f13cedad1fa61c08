"""What an operation is given besides the picture and its parameters."""

import asyncio
import contextvars
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from diptych.errors import InvalidRequest
from diptych.images import ImageLimits, Mask
from diptych.serving.context import find_request
from diptych.v1 import image_pb2
from services.editor.models import EditorModels, OpenModel

T = TypeVar("T")


class ImageThreads:
    """Threads for image arithmetic, so that the event loop stays free."""

    def __init__(self, count: int) -> None:
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="image")

    async def run(self, function: Callable[..., T], *args: object) -> T:
        """The result of `function(*args)`. Its time goes to the current request's clock."""
        request = find_request()
        asked = time.monotonic()

        def timed() -> T:
            began = time.monotonic()
            try:
                return function(*args)
            finally:
                if request is not None:
                    request.clock.queue_seconds += began - asked
                    request.clock.compute_seconds += time.monotonic() - began

        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._threads, context.run, timed)

    async def close(self) -> None:
        """Returns when the running arithmetic is over."""
        await asyncio.to_thread(self._threads.shutdown, wait=True, cancel_futures=True)


@dataclass
class EditContext:
    """One operation's surroundings; what it used and decided is gathered here for the step record.

    `path` is its path in the request, for faults that only the picture can show. `selection` is (H, W) float32,
    1 where the operation may act, None for everywhere. `suspect`: a model seems to have lost the picture.
    """

    models: EditorModels
    threads: ImageThreads
    limits: ImageLimits
    path: str
    tile: int
    deadline: float | None = None
    selection: Mask | None = None
    progress: Callable[[float], None] = lambda fraction: None
    used: list[image_pb2.ModelRef] = field(default_factory=list)
    resolved: dict[str, str] = field(default_factory=dict)
    suspect: bool = False

    async def compute(self, function: Callable[..., T], *args: object) -> T:
        """The result of `function(*args)`, off the event loop."""
        return await self.threads.run(function, *args)

    async def model(self, name: str) -> OpenModel:
        """The open model, recorded as used."""
        opened = await self.models.open(name)
        if opened.ref not in self.used:
            self.used.append(opened.ref)
        return opened

    def method(self, name: str, engine: str) -> None:
        """Records that a method without a trained model took part."""
        ref = image_pb2.ModelRef(name=name, kind=image_pb2.MODEL_KIND_ALGORITHM, engine=engine)
        if ref not in self.used:
            self.used.append(ref)

    def note(self, **values: object) -> None:
        """Records parameters as they were resolved, by the proto's field names."""
        for name, value in values.items():
            self.resolved[name] = _text(value)

    def fault(self, name: str, description: str) -> InvalidRequest:
        """The error for the field `name` of this operation."""
        return InvalidRequest.single(f"{self.path}.{name}" if name else self.path, description)

    def check_size(self, width: int, height: int, name: str) -> None:
        """Nothing if a result may have this size; else the fault of the field `name`."""
        if width < 1 or height < 1:
            raise self.fault(name, f"would leave {width} x {height} pixels; ask for at least one on each side")
        if max(width, height) > self.limits.max_side or width * height > self.limits.max_pixels:
            raise self.fault(
                name,
                f"would make {width} x {height} pixels; this server makes at most {self.limits.max_side} a side and "
                f"{self.limits.max_pixels} in all",
            )


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)
