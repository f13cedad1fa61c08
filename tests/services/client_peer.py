"""A small deterministic server of all three services, for tests of the client and the command.

It speaks the contract through a real grpc.aio server. Words in the prompt or goal choose what happens: "slow" waits
until it is cancelled, "overloaded", "clarify", "fail" (the editor is down), "mute" (ends without a result).
"""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from PIL import Image

from diptych import errors
from diptych.v1 import (
    editor_pb2,
    editor_pb2_grpc,
    generator_pb2,
    generator_pb2_grpc,
    image_pb2,
    model_pb2,
    model_pb2_grpc,
    orchestrator_pb2,
    orchestrator_pb2_grpc,
)

NAMES = {
    "orchestrator": "diptych.v1.OrchestratorService",
    "generator": "diptych.v1.GeneratorService",
    "editor": "diptych.v1.EditorService",
}
PILLOW_FORMATS = {
    image_pb2.IMAGE_FORMAT_AVIF: "AVIF",
    image_pb2.IMAGE_FORMAT_JPEG: "JPEG",
    image_pb2.IMAGE_FORMAT_WEBP: "WEBP",
}


def picture(seed: int, output: image_pb2.OutputOptions, width: int = 8, height: int = 6) -> image_pb2.Image:
    """One colour, chosen by the seed."""
    target = io.BytesIO()
    name = PILLOW_FORMATS.get(output.format, "PNG")
    Image.new("RGB", (width, height), (seed % 256, 40, 80)).save(target, name)
    kept = output.format or image_pb2.IMAGE_FORMAT_PNG
    return image_pb2.Image(content=target.getvalue(), format=kept, width=width, height=height)


def record(step_id: str, service: str, operation: str) -> image_pb2.StepRecord:
    kind = image_pb2.MODEL_KIND_GENERATIVE if service == "generator" else image_pb2.MODEL_KIND_ALGORITHM
    made = image_pb2.StepRecord(step_id=step_id, service=service, operation=operation, width=8, height=6)
    made.models.add(name=f"peer-{operation}", version="1", kind=kind, engine="fake")
    made.timing.total.FromMilliseconds(120)
    made.timing.compute.FromMilliseconds(100)
    if service == "editor":
        made.effect.effect = image_pb2.EFFECT_CHANGED
    return made


async def fail(context: Any, error: errors.DiptychError) -> None:
    await context.abort_with_status(rpc_status.to_status(errors.to_status(error)))


FOUND = editor_pb2.Analysis(
    width=8,
    height=6,
    lighting=editor_pb2.Lighting(exposure=-1.5, key="low"),
    palette=[editor_pb2.PaletteColor(color="#aa2030", name="dark red", fraction=0.75)],
)


class Peer(
    generator_pb2_grpc.GeneratorServiceServicer,
    editor_pb2_grpc.EditorServiceServicer,
    orchestrator_pb2_grpc.OrchestratorServiceServicer,
    model_pb2_grpc.ModelServiceServicer,
):
    """The servicer; remembers the headers of the last call, every request, and how many calls were cancelled."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.requests: list[Any] = []
        self.cancelled = asyncio.Semaphore(0)
        self.waiting = asyncio.Semaphore(0)

    async def take(self, text: str, request: Any, context: Any) -> None:
        self.requests.append(request)
        self.headers = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
        if "overloaded" in text:
            await fail(context, errors.Overloaded("8 requests wait already", 1.5))
        if "plain" in text:
            await context.abort(grpc.StatusCode.NOT_FOUND, "nobody wrote details")
        if "unknown model" in text:
            await fail(context, errors.ModelNotFound("nope", ["a", "b"]))
        if "slow" in text:
            self.waiting.release()
            try:
                await asyncio.Event().wait()
            finally:
                self.cancelled.release()

    async def StreamGenerateImage(self, request: Any, context: Any) -> AsyncIterator[Any]:
        Event = generator_pb2.StreamGenerateImageResponse
        spec = request.spec
        resolved = generator_pb2.ResolvedGeneration(
            width=spec.width or 8,
            height=spec.height or 6,
            num_images=spec.num_images if spec.HasField("num_images") else 1,
            seed=spec.seed if spec.HasField("seed") else 4711,
            num_inference_steps=spec.num_inference_steps or 4,
            guidance_scale=spec.guidance_scale or 3,
        )
        yield Event(accepted=generator_pb2.GenerationAccepted(resolved=resolved))
        await self.take(spec.prompt, request, context)
        if not spec.prompt:
            await fail(context, errors.InvalidRequest.single("spec.prompt", "say what to draw"))
        if "mute" in spec.prompt:
            return
        for index in reversed(range(resolved.num_images)):
            for step in range(1, resolved.num_inference_steps + 1):
                now = generator_pb2.GenerationProgress(index=index, step=step, num_steps=resolved.num_inference_steps)
                yield Event(progress=now)
            seed = resolved.seed + index
            image = picture(seed, spec.output, resolved.width, resolved.height)
            yield Event(image=generator_pb2.GeneratedImage(index=index, seed=seed, image=image))
        marking = image_pb2.MarkingVerdict(marking=image_pb2.MARKING_GENERATED, step_ids=["1"])
        done = generator_pb2.GenerationCompleted(
            resolved=resolved, record=record("1", "generator", "generate"), marking=marking
        )
        yield Event(completed=done)

    async def GenerateImage(self, request: Any, context: Any) -> Any:
        answer = generator_pb2.GenerateImageResponse()
        async for event in self.StreamGenerateImage(request, context):
            if event.HasField("image"):
                answer.images.append(event.image)
            elif event.HasField("completed"):
                done = event.completed
                answer.MergeFrom(
                    generator_pb2.GenerateImageResponse(
                        resolved=done.resolved, record=done.record, marking=done.marking
                    )
                )
        return answer

    async def StreamAnimateLatents(self, request: Any, context: Any) -> AsyncIterator[Any]:
        await fail(context, errors.Unsupported("films come later"))
        yield

    async def StreamEditImage(self, request: Any, context: Any) -> AsyncIterator[Any]:
        Event = editor_pb2.StreamEditImageResponse
        spec = request.spec
        names = [operation.WhichOneof("operation") for operation in spec.operations]
        await self.take(" ".join(names), request, context)
        if not spec.image.content.startswith(b"\x89PNG"):
            await fail(context, errors.InvalidRequest.single("spec.image", "is no picture that is read here"))
        yield Event(accepted=editor_pb2.EditAccepted(width=8, height=6, num_operations=len(names)))
        for number, name in enumerate(names):
            for fraction in (0.5, 1.0):
                now = editor_pb2.EditProgress(operation_index=number, operation=name, fraction=fraction)
                yield Event(progress=now)
            yield Event(step=record(str(number + 1), "editor", name))
        yield Event(image=picture(9, spec.output))
        marking = image_pb2.MarkingVerdict(marking=image_pb2.MARKING_STANDARD_EDIT)
        yield Event(completed=editor_pb2.EditCompleted(marking=marking))

    async def EditImage(self, request: Any, context: Any) -> Any:
        return editor_pb2.EditImageResponse()

    async def AnalyzeImage(self, request: Any, context: Any) -> Any:
        await self.take("", request, context)
        return editor_pb2.AnalyzeImageResponse(analysis=FOUND, record=record("1", "editor", "analyze"))

    async def SelectRegion(self, request: Any, context: Any) -> Any:
        return editor_pb2.SelectRegionResponse(score=0.5)

    async def StreamAnimateImage(self, request: Any, context: Any) -> AsyncIterator[Any]:
        Event = editor_pb2.StreamAnimateImageResponse
        await self.take("", request, context)
        yield Event(accepted=editor_pb2.ImageAnimationAccepted(num_frames=2, width=8, height=6))
        for frame in (1, 2):
            yield Event(progress=editor_pb2.ImageAnimationProgress(frame=frame, num_frames=2))
        film = image_pb2.Video(
            content=b"film", format=request.format, width=8, height=6, num_frames=2, frames_per_second=24
        )
        marking = image_pb2.MarkingVerdict(marking=image_pb2.MARKING_STANDARD_EDIT)
        yield Event(
            completed=editor_pb2.ImageAnimationCompleted(
                video=film, record=record("1", "editor", "animate"), marking=marking
            )
        )

    def plan(self, goal: orchestrator_pb2.Goal, images: int) -> orchestrator_pb2.Plan:
        plan = orchestrator_pb2.Plan(confidence=0.75, why="the peer says so", digest="sha256:00")
        if "clarify" in goal.text:
            plan.route = plan.reading.route = orchestrator_pb2.ROUTE_CLARIFY
            plan.clarification.question = "Which picture do you mean?"
            for label in ("The first", "A new one"):
                plan.clarification.options.add(label=label, plan=orchestrator_pb2.Plan(digest=f"sha256:{label}"))
            return plan
        if "what" in goal.text:
            plan.route = plan.reading.route = orchestrator_pb2.ROUTE_EDIT
            step = plan.steps.add(id="1", service="editor", operation="analyze", inputs=[{"goal_image": 0}])
            step.analyze.SetInParent()
            return plan
        plan.slots["scale"] = "4"
        plan.slots["object"] = "apple"
        if images:
            plan.route = plan.reading.route = orchestrator_pb2.ROUTE_EDIT
            step = plan.steps.add(id="1", service="editor", operation="upscale", reason="bigger")
            step.edit.upscale.scale = 4
            step.inputs.add(goal_image=0)
        else:
            plan.route = plan.reading.route = orchestrator_pb2.ROUTE_CHAIN
            plan.steps.add(id="1", service="generator", operation="generate").generate.prompt = goal.text
            step = plan.steps.add(id="2", service="editor", operation="upscale")
            step.edit.upscale.scale = 4
            step.inputs.add(step_id="1")
        plan.reading.operations.extend(step.operation for step in plan.steps)
        return plan

    async def PlanGoal(self, request: Any, context: Any) -> Any:
        await self.take(request.goal.text, request, context)
        if "odd" in request.goal.text:
            # Answers come out of order, the caller's lines must not.
            await asyncio.sleep(0.02)
        images = request.assumed_images if request.HasField("assumed_images") else len(request.goal.images)
        return orchestrator_pb2.PlanGoalResponse(plan=self.plan(request.goal, images))

    async def RunGoal(self, request: Any, context: Any) -> AsyncIterator[Any]:
        plan = self.plan(request.goal, len(request.goal.images))
        async for event in self.run(plan, request.goal.text, request, context):
            yield orchestrator_pb2.RunGoalResponse(event=event)

    async def RunPlan(self, request: Any, context: Any) -> AsyncIterator[Any]:
        async for event in self.run(request.plan, "", request, context):
            yield orchestrator_pb2.RunPlanResponse(event=event)

    async def run(
        self, plan: orchestrator_pb2.Plan, text: str, request: Any, context: Any
    ) -> AsyncIterator[orchestrator_pb2.GoalEvent]:
        Event = orchestrator_pb2.GoalEvent
        yield Event(plan=plan)
        await self.take(text, request, context)
        completed = orchestrator_pb2.GoalCompleted(plan_digest=plan.digest)
        for step in plan.steps:
            started = orchestrator_pb2.StepStarted(step_id=step.id, service=step.service, operation=step.operation)
            yield Event(step_started=started)
            if "fail" in text and step.service == "editor":
                await fail(context, errors.ServiceUnavailable("editor", "editor at 127.0.0.1:9 cannot be reached"))
            for fraction in (0.25, 0.5, 1.0):
                now = orchestrator_pb2.StepProgress(step_id=step.id, fraction=fraction, message="step 1 of 4")
                yield Event(progress=now)
            done = record(step.id, step.service, step.operation)
            completed.records.append(done)
            ended = orchestrator_pb2.StepCompleted(step_id=step.id, records=[done])
            if step.WhichOneof("action") == "analyze":
                ended.analysis.CopyFrom(FOUND)
            yield Event(step_completed=ended)
        if any(step.WhichOneof("action") != "analyze" for step in plan.steps):
            completed.images.append(picture(1, request.goal.output if text else plan.output))
        completed.marking.marking = image_pb2.MARKING_PARTLY_GENERATED
        completed.marking.step_ids.append("1")
        completed.timing.total.FromMilliseconds(250)
        completed.timing.compute.FromMilliseconds(240)
        yield Event(completed=completed)

    async def ListModels(self, request: Any, context: Any) -> Any:
        answer = model_pb2.ListModelsResponse()
        model = answer.models.add(task="text-to-image", state=model_pb2.MODEL_STATE_READY, license="Apache-2.0")
        model.ref.name = "peer-model"
        return answer

    async def GetModel(self, request: Any, context: Any) -> Any:
        await fail(context, errors.ModelNotFound(request.name, ["peer-model"]))

    async def LoadModel(self, request: Any, context: Any) -> Any:
        return model_pb2.LoadModelResponse()

    async def UnloadModel(self, request: Any, context: Any) -> Any:
        return model_pb2.UnloadModelResponse()

    async def CreateJob(self, request: Any, context: Any) -> Any:
        await fail(context, errors.Unsupported("jobs come later"))

    async def GetJob(self, request: Any, context: Any) -> Any:
        return orchestrator_pb2.GetJobResponse()

    async def ListJobs(self, request: Any, context: Any) -> Any:
        return orchestrator_pb2.ListJobsResponse()

    async def WatchJob(self, request: Any, context: Any) -> AsyncIterator[Any]:
        yield orchestrator_pb2.WatchJobResponse(sequence=1)

    async def CancelJob(self, request: Any, context: Any) -> Any:
        return orchestrator_pb2.CancelJobResponse()

    async def DeleteJob(self, request: Any, context: Any) -> Any:
        return orchestrator_pb2.DeleteJobResponse()

    async def DownloadArtifact(self, request: Any, context: Any) -> AsyncIterator[Any]:
        yield orchestrator_pb2.DownloadArtifactResponse(chunk=b"abc")

    async def UploadArtifact(self, request_iterator: Any, context: Any) -> Any:
        size = 0
        async for request in request_iterator:
            size += len(request.chunk)
        return orchestrator_pb2.UploadArtifactResponse(committed_size=size)


@asynccontextmanager
async def serving(
    peer: Peer, *, port: int = 0, services: tuple[str, ...] = ("orchestrator", "generator", "editor")
) -> AsyncIterator[str]:
    """HOST:PORT of a running peer that offers these services."""
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 64 << 20), ("grpc.so_reuseport", 0)])
    if "generator" in services:
        generator_pb2_grpc.add_GeneratorServiceServicer_to_server(peer, server)
    if "editor" in services:
        editor_pb2_grpc.add_EditorServiceServicer_to_server(peer, server)
    if "orchestrator" in services:
        orchestrator_pb2_grpc.add_OrchestratorServiceServicer_to_server(peer, server)
    model_pb2_grpc.add_ModelServiceServicer_to_server(peer, server)
    checks = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    for service in services:
        await checks.set(NAMES[service], health_pb2.HealthCheckResponse.SERVING)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield f"127.0.0.1:{bound}"
    finally:
        await server.stop(None)
