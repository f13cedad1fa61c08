"""The real orchestrator with real clients and servers over loopback; generator and editor are small deterministic ones.

The toys draw flat pictures and turn them over, wait, fail and refuse by what their requests say. Goals are spelled out,
such as `generate:prompt=a fox; then upscale:scale=2`, so that reading them plays no part here.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from diptych import images
from diptych.client import AsyncClient
from diptych.errors import (
    FieldViolation,
    InvalidRequest,
    Overloaded,
    Unsupported,
)
from diptych.serving.config import ServiceConfig
from diptych.serving.context import current_request
from diptych.serving.lifecycle import Lifecycle
from diptych.serving.server import ServiceServer
from diptych.serving.telemetry import Telemetry
from diptych.v1 import editor_pb2, generator_pb2, image_pb2, model_pb2
from diptych.v1 import orchestrator_pb2 as v1
from diptych.v1.editor_pb2_grpc import EditorServiceServicer, add_EditorServiceServicer_to_server
from diptych.v1.generator_pb2_grpc import GeneratorServiceServicer, add_GeneratorServiceServicer_to_server
from diptych.v1.model_pb2_grpc import ModelServiceServicer, add_ModelServiceServicer_to_server
from services.orchestrator.app import OrchestratorConfig, assemble
from services.orchestrator.intent import ClarifyReason, IntendedOperation, Intent

RAW, PNG, JPEG = image_pb2.IMAGE_FORMAT_RAW, image_pb2.IMAGE_FORMAT_PNG, image_pb2.IMAGE_FORMAT_JPEG
SIDE = 8


def read_spelled_out(goal: str, has_image: bool) -> Intent:
    """What a goal spells out; a goal that spells out nothing is vague."""
    operations = []
    for clause in goal.split(";"):
        name, _, rest = clause.strip().removeprefix("then ").partition(":")
        slots = dict(pair.split("=", 1) for pair in rest.split(",") if "=" in pair)
        operations.append(IntendedOperation(name, slots, clause.strip()))
    if "?" in goal:
        return Intent("CLARIFY", (), {}, 0.2, (), ClarifyReason.VAGUE)
    return Intent("EDIT", tuple(operations), {}, 0.9, (), None)


class Toys:
    """What both toy peers share: who called, what is let go, who was cancelled."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.edits: list[editor_pb2.EditSpec] = []
        self.drawn: list[generator_pb2.GenerationSpec] = []
        self.seconds_left: list[float] = []
        self.entered = asyncio.Event()
        self.let_go = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.at_once = self.most_at_once = 0
        self.let_go_at = 0

    async def wait(self) -> None:
        """Waits to be let go; tells when the caller left first."""
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.entered.set()
        if self.at_once == self.let_go_at:
            self.let_go.set()
        try:
            await self.let_go.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        finally:
            self.at_once -= 1


def record(operation: str, kind: image_pb2.ModelKind.ValueType, pixels: np.ndarray) -> image_pb2.StepRecord:
    made = image_pb2.StepRecord(step_id="peer", operation=operation, height=pixels.shape[0], width=pixels.shape[1])
    made.models.add(name="toy", kind=kind)
    made.timing.total.FromMilliseconds(2)
    return made


class ToyGenerator(GeneratorServiceServicer):
    """Draws flat pictures: seed + i is the grey of picture i."""

    def __init__(self, toys: Toys) -> None:
        self.toys = toys

    async def StreamGenerateImage(
        self, request: generator_pb2.StreamGenerateImageRequest, context: Any
    ) -> AsyncIterator[generator_pb2.StreamGenerateImageResponse]:
        self.toys.calls["generate"] += 1
        self.toys.drawn.append(request.spec)
        spec, Response = request.spec, generator_pb2.StreamGenerateImageResponse
        if (deadline := current_request().deadline) is not None:
            self.toys.seconds_left.append(deadline - time.monotonic())
        if spec.prompt == "overload":
            raise Overloaded("full", retry_after=7.0)
        count, steps = spec.num_images or 1, 4
        yield Response(accepted={"resolved": {"num_images": count, "num_inference_steps": steps}})
        if spec.prompt == "wait":
            await self.toys.wait()
        for step in range(1, steps + 1):
            for index in range(count):
                yield Response(progress={"index": index, "step": step, "num_steps": steps})
                if request.preview_interval and step % request.preview_interval == 0:
                    yield Response(preview={"index": index, "step": step, "image": {"content": b"cheap"}})
        for index in reversed(range(count)):  # as they finish, not in order
            pixels = np.full((SIDE, SIDE, 3), 10 + index, np.uint8)
            yield Response(image={"index": index, "image": images.to_message(pixels, spec.output.format)})
        made = record("generate", image_pb2.MODEL_KIND_GENERATIVE, pixels)
        yield Response(completed={"record": made})


class ToyEditor(EditorServiceServicer):
    """Each edit adds 1 to every pixel; `upscale` doubles the size, `denoise` waits, `deblur` is not done here."""

    def __init__(self, toys: Toys) -> None:
        self.toys = toys

    async def StreamEditImage(
        self, request: editor_pb2.StreamEditImageRequest, context: Any
    ) -> AsyncIterator[editor_pb2.StreamEditImageResponse]:
        self.toys.calls["edit"] += 1
        self.toys.edits.append(request.spec)
        Response = editor_pb2.StreamEditImageResponse
        names = [operation.WhichOneof("operation") for operation in request.spec.operations]
        for index, name in enumerate(names):
            if name == "deblur":
                raise Unsupported(f"spec.operations[{index}].deblur: deblur is not served")
            if name == "extend":
                await self.toys.entered.wait()
                raise Unsupported("extend is not served")
            if name == "retouch":
                why = FieldViolation(f"spec.operations[{index}].retouch.skin", "too smooth")
                raise InvalidRequest([why])
        pixels = images.from_message(request.spec.image, field="spec.image")
        yield Response(accepted={"num_operations": len(names)})
        for index, name in enumerate(names):
            yield Response(progress={"operation_index": index, "operation": name, "fraction": 0.5})
            if name == "denoise":
                await self.toys.wait()
            if name == "crop":
                raise ValueError("a fault of the editor's own")
            if name != "analyze":
                pixels = pixels + np.uint8(1)
            if name == "upscale":
                pixels = pixels.repeat(2, 0).repeat(2, 1)
            yield Response(step=record(name or "", image_pb2.MODEL_KIND_EDITING, pixels))
        yield Response(image=images.to_message(pixels, request.spec.output.format))
        yield Response(completed={"timing": {"total": {"nanos": 3_000_000}}})

    async def AnalyzeImage(
        self, request: editor_pb2.AnalyzeImageRequest, context: Any
    ) -> editor_pb2.AnalyzeImageResponse:
        self.toys.calls["analyze"] += 1
        pixels = images.from_message(request.image, field="image")
        made = record("analyze", image_pb2.MODEL_KIND_ALGORITHM, pixels)
        found = editor_pb2.Analysis(width=pixels.shape[1])
        found.lighting.exposure = (float(pixels.mean()) - 50) / 50
        return editor_pb2.AnalyzeImageResponse(analysis=found, record=made)

    async def SelectRegion(
        self, request: editor_pb2.SelectRegionRequest, context: Any
    ) -> editor_pb2.SelectRegionResponse:
        self.toys.calls["select"] += 1
        pixels = images.from_message(request.image, field="image")
        answer = editor_pb2.SelectRegionResponse(record=record("select", image_pb2.MODEL_KIND_ANALYSIS, pixels))
        answer.mask.CopyFrom(images.to_message(np.full(pixels.shape, 255, np.uint8), PNG))
        if request.selection.label != "giraffe":
            answer.box.width = answer.box.height = 1
        return answer


class ToyModels(ModelServiceServicer):
    """Lists one model for drafts and one for finals."""

    def __init__(self, toys: Toys) -> None:
        self.toys = toys

    async def ListModels(self, request: model_pb2.ListModelsRequest, context: Any) -> model_pb2.ListModelsResponse:
        self.toys.calls["list"] += 1
        answer = model_pb2.ListModelsResponse()
        for name, steps in (("slow", 20), ("swift", 8)):
            state = model_pb2.MODEL_STATE_READY
            answer.models.add(
                ref={"name": name}, task="text-to-image", state=state, defaults={"num_inference_steps": f"{steps}"}
            )
        return answer


class Wire:
    """A TCP relay before a peer, so that its connection can be cut as when its machine goes down."""

    def __init__(self, port: int) -> None:
        self._behind = port
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def join(self) -> None:
        """Listens, at the same port as before."""
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Refuses new connections and breaks those there are."""
        if self._server is not None:
            self._server.close()
            for writer in tuple(self._writers):
                writer.transport.abort()
            await self._server.wait_closed()
            self._server = None

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection("127.0.0.1", self._behind)
        self._writers |= {writer, ours}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, ours))
                group.create_task(self._pump(theirs, writer))
        finally:
            self._writers -= {writer, ours}

    @staticmethod
    async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await source.read(1 << 16):
                sink.write(data)
                await sink.drain()
        sink.close()


@dataclass
class House:
    """Everything running."""

    client: AsyncClient
    toys: Toys
    wire: Wire
    address: str = ""

    async def goal(self, text: str, *pictures: image_pb2.Image, timeout: float = 20, **more: Any) -> list[v1.GoalEvent]:
        """The events of a goal."""
        inputs = [v1.ImageInput(image=picture) for picture in pictures]
        interval = more.pop("preview_interval", 0)
        request = v1.RunGoalRequest(goal=v1.Goal(text=text, images=inputs, **more), preview_interval=interval)
        return [answer.event async for answer in self.client.run_goal(request, timeout=timeout)]

    async def plan(self, text: str, assumed_images: int = 0, **more: Any) -> v1.Plan:
        """The plan for a goal."""
        request = v1.PlanGoalRequest(goal=v1.Goal(text=text, **more), assumed_images=assumed_images)
        return (await self.client.plan_goal(request, timeout=20)).plan

    async def run(self, plan: v1.Plan, *pictures: image_pb2.Image) -> v1.GoalCompleted:
        """What a plan gives."""
        inputs = [v1.ImageInput(image=picture) for picture in pictures]
        request = v1.RunPlanRequest(plan=plan, images=inputs)
        answers = [answer async for answer in self.client.run_plan(request, timeout=20)]
        return answers[-1].event.completed


def peer(name: str, add: Callable[[Any], None]) -> ServiceServer:
    names = [f"diptych.v1.{name.capitalize()}Service"]
    config = ServiceConfig(port=0, drain_seconds=0)
    telemetry = Telemetry(name)
    return ServiceServer(config, add_services=add, service_names=names, lifecycle=Lifecycle(), telemetry=telemetry)


@asynccontextmanager
async def running(*, lists_models: bool = False, token: str | None = None, **settings: Any) -> AsyncIterator[House]:
    toys = Toys()

    def add_generator(server: Any) -> None:
        add_GeneratorServiceServicer_to_server(ToyGenerator(toys), server)
        if lists_models:
            add_ModelServiceServicer_to_server(ToyModels(toys), server)

    generator = peer("generator", add_generator)
    editor = peer("editor", lambda server: add_EditorServiceServicer_to_server(ToyEditor(toys), server))
    async with generator, editor:
        wire = Wire(editor.port)
        await wire.join()
        config = OrchestratorConfig(
            port=0, generator_address=generator.address, editor_address=f"127.0.0.1:{wire.port}", **settings
        )
        server = assemble(config, read_spelled_out)
        async with server, AsyncClient(server.address, token=token) as client:
            yield House(client, toys, wire, server.address)
            toys.let_go.set()
        await wire.cut()


def picture(grey: int = 50) -> image_pb2.Image:
    return images.to_message(np.full((SIDE, SIDE, 3), grey, np.uint8), PNG)


def grey_of(image: image_pb2.Image) -> int:
    return int(images.from_message(image, field="image")[0, 0, 0])


def told(events: list[v1.GoalEvent]) -> list[str]:
    """Kinds of events with their steps, progress left out."""
    kinds = [(event.WhichOneof("event"), event) for event in events]
    steps = [f"{kind} {getattr(getattr(event, kind), 'step_id', '')}".strip() for kind, event in kinds]
    return [kind for kind in steps if not kind.startswith("progress")]
