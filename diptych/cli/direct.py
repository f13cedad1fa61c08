"""Clients for commands that need one service alone: straight to it, or through the orchestrator.

One address is all that a caller needs to know. Where it is the orchestrator's, the same request is made a plan of one
chain and run there; the answers are put back into the form of the direct call.
"""

import os
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import aclosing, asynccontextmanager

from google.protobuf.message import Message

from diptych.calls import ServiceName
from diptych.cli.options import connect, tls_from_environment
from diptych.client import AsyncClient
from diptych.errors import DiptychError
from diptych.v1 import editor_pb2, generator_pb2, image_pb2, orchestrator_pb2

_STEPS = re.compile(r"step \d+ of (\d+)")


@asynccontextmanager
async def open_direct(service: ServiceName, address: str | None) -> AsyncIterator[AsyncClient]:
    """A client that does the work of `service`."""
    own = os.environ.get(f"DIPTYCH_{service.upper()}_ADDRESS")
    given = address or (None if own else os.environ.get("DIPTYCH_ADDRESS"))
    if given and not await _answers(service, given) and await _answers("orchestrator", given):
        async with ThroughOrchestrator(given, tls=tls_from_environment()) as client:
            yield client
        return
    async with connect(service, address) as client:
        yield client


async def _answers(service: ServiceName, address: str) -> bool:
    async with connect(service, address) as client:
        try:
            await client.health(service)
        except DiptychError:
            # Not there or something else: the call itself will say so, in the words of the service it wants.
            return False
    return True


class ThroughOrchestrator(AsyncClient):
    """A client whose generations, edits and analyses are run as plans by the orchestrator."""

    async def stream_generate_image(
        self,
        request: generator_pb2.StreamGenerateImageRequest,
        *,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[generator_pb2.StreamGenerateImageResponse, None]:
        """Draws pictures, watched."""
        Event = generator_pb2.StreamGenerateImageResponse
        spec = generator_pb2.GenerationSpec()
        spec.CopyFrom(request.spec)
        spec.ClearField("output")
        pictures = lift_pictures(spec)
        step = orchestrator_pb2.PlanStep(id="1", inputs=[_picture(index) for index in range(len(pictures))])
        (step.vary if pictures else step.generate).CopyFrom(spec)
        run = _run(request.spec.output, [step], pictures, request.preview_interval)
        async with aclosing(self.run_plan(run, timeout=timeout, metadata=metadata)) as responses:
            async for response in responses:
                event = response.event
                match event.WhichOneof("event"):
                    case "plan":
                        yield Event(accepted=generator_pb2.GenerationAccepted())
                    case "progress":
                        yield Event(progress=_steps_done(event.progress))
                    case "preview":
                        yield Event(preview=generator_pb2.GenerationPreview(image=event.preview.image))
                    case "completed":
                        resolved = _resolved(event.completed)
                        for index, image in enumerate(event.completed.images):
                            made = generator_pb2.GeneratedImage(index=index, seed=resolved.seed + index, image=image)
                            yield Event(image=made)
                        yield Event(
                            completed=generator_pb2.GenerationCompleted(
                                resolved=resolved, record=event.completed.records[0], marking=event.completed.marking
                            )
                        )

    async def generate_image(
        self,
        request: generator_pb2.GenerateImageRequest,
        *,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> generator_pb2.GenerateImageResponse:
        """Draws pictures and answers when all are done."""
        watched = generator_pb2.StreamGenerateImageRequest(spec=request.spec)
        answer = generator_pb2.GenerateImageResponse()
        async for event in self.stream_generate_image(watched, timeout=timeout, metadata=metadata):
            if event.HasField("image"):
                answer.images.append(event.image)
            elif event.HasField("completed"):
                done = event.completed
                answer.resolved.CopyFrom(done.resolved)
                answer.record.CopyFrom(done.record)
                answer.marking.CopyFrom(done.marking)
        return answer

    async def stream_animate_latents(
        self,
        request: generator_pb2.StreamAnimateLatentsRequest,
        *,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[generator_pb2.StreamAnimateLatentsResponse, None]:
        """Draws a film, watched."""
        Event = generator_pb2.StreamAnimateLatentsResponse
        step = orchestrator_pb2.PlanStep(id="1", animate_latents=request)
        run = _run(image_pb2.OutputOptions(), [step], [])
        async with aclosing(self.run_plan(run, timeout=timeout, metadata=metadata)) as responses:
            async for response in responses:
                event = response.event
                match event.WhichOneof("event"):
                    case "plan":
                        yield Event(accepted=generator_pb2.AnimationAccepted())
                    case "progress":
                        # The orchestrator tells the share alone.
                        done = round(100 * event.progress.fraction)
                        yield Event(progress=generator_pb2.AnimationProgress(frame=done, num_frames=100))
                    case "completed":
                        done_event = generator_pb2.AnimationCompleted(
                            video=event.completed.videos[0],
                            record=event.completed.records[0],
                            marking=event.completed.marking,
                        )
                        yield Event(completed=done_event)

    async def stream_animate_image(
        self,
        request: editor_pb2.StreamAnimateImageRequest,
        *,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[editor_pb2.StreamAnimateImageResponse, None]:
        """Sets a still in motion, watched."""
        Event = editor_pb2.StreamAnimateImageResponse
        step = orchestrator_pb2.PlanStep(id="1", inputs=[_picture(0)], animate_image=request)
        taken = lift_pictures(step.animate_image)
        step.animate_image.ClearField("image")
        run = _run(image_pb2.OutputOptions(), [step], taken)
        async with aclosing(self.run_plan(run, timeout=timeout, metadata=metadata)) as responses:
            async for response in responses:
                event = response.event
                match event.WhichOneof("event"):
                    case "plan":
                        yield Event(accepted=editor_pb2.ImageAnimationAccepted())
                    case "progress":
                        done = round(100 * event.progress.fraction)
                        yield Event(progress=editor_pb2.ImageAnimationProgress(frame=done, num_frames=100))
                    case "completed":
                        done_event = editor_pb2.ImageAnimationCompleted(
                            video=event.completed.videos[0],
                            record=event.completed.records[0],
                            marking=event.completed.marking,
                        )
                        yield Event(completed=done_event)

    async def stream_edit_image(
        self,
        request: editor_pb2.StreamEditImageRequest,
        *,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[editor_pb2.StreamEditImageResponse, None]:
        """Applies operations, watched."""
        Event = editor_pb2.StreamEditImageResponse
        pictures, steps = [request.spec.image], list[orchestrator_pb2.PlanStep]()
        for number, operation in enumerate(request.spec.operations, 1):
            step = orchestrator_pb2.PlanStep(id=str(number), edit=operation)
            taken = lift_pictures(step.edit)
            before = orchestrator_pb2.StepInput(step_id=str(number - 1)) if steps else _picture(0)
            step.inputs.extend([before, *(_picture(len(pictures) + index) for index in range(len(taken)))])
            pictures += taken
            steps.append(step)
        run = _run(request.spec.output, steps, pictures)
        async with aclosing(self.run_plan(run, timeout=timeout, metadata=metadata)) as responses:
            async for response in responses:
                event = response.event
                match event.WhichOneof("event"):
                    case "plan":
                        yield Event(accepted=editor_pb2.EditAccepted(num_operations=len(steps)))
                    case "progress":
                        index = int(event.progress.step_id) - 1
                        name = request.spec.operations[index].WhichOneof("operation") or ""
                        now = editor_pb2.EditProgress(
                            operation_index=index, operation=name, fraction=event.progress.fraction
                        )
                        yield Event(progress=now)
                    case "step_completed":
                        for record in event.step_completed.records:
                            yield Event(step=record)
                    case "completed":
                        for image in event.completed.images:
                            yield Event(image=image)
                        done = editor_pb2.EditCompleted(marking=event.completed.marking, timing=event.completed.timing)
                        yield Event(completed=done)

    async def analyze_image(
        self,
        request: editor_pb2.AnalyzeImageRequest,
        *,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> editor_pb2.AnalyzeImageResponse:
        """What is in a picture, and how it is lit."""
        step = orchestrator_pb2.PlanStep(id="1", inputs=[_picture(0)])
        step.analyze.SetInParent()
        step.analyze.kinds.extend(request.kinds)
        answer = editor_pb2.AnalyzeImageResponse()
        run = _run(image_pb2.OutputOptions(), [step], [request.image])
        async with aclosing(self.run_plan(run, timeout=timeout, metadata=metadata)) as responses:
            async for response in responses:
                if response.event.WhichOneof("event") == "step_completed":
                    done = response.event.step_completed
                    answer.analysis.CopyFrom(done.analysis)
                    answer.record.CopyFrom(done.records[0])
        return answer


def lift_pictures(message: Message) -> list[image_pb2.Image]:
    """The pictures inside a message, in the order of its fields; their places stay, empty."""
    lifted: list[image_pb2.Image] = []
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for inner in [value] if isinstance(value, Message) else value:
            if isinstance(inner, image_pb2.Image):
                image = image_pb2.Image()
                image.CopyFrom(inner)
                lifted.append(image)
                inner.Clear()
            elif isinstance(inner, Message):
                lifted += lift_pictures(inner)
    return lifted


def _run(
    output: image_pb2.OutputOptions,
    steps: Iterable[orchestrator_pb2.PlanStep],
    pictures: Iterable[image_pb2.Image],
    preview_interval: int = 0,
) -> orchestrator_pb2.RunPlanRequest:
    plan = orchestrator_pb2.Plan(steps=steps, output=output)
    images = [orchestrator_pb2.ImageInput(image=image) for image in pictures]
    return orchestrator_pb2.RunPlanRequest(plan=plan, images=images, preview_interval=preview_interval)


def _picture(index: int) -> orchestrator_pb2.StepInput:
    return orchestrator_pb2.StepInput(goal_image=index)


def _steps_done(progress: orchestrator_pb2.StepProgress) -> generator_pb2.GenerationProgress:
    """Progress over all pictures of the step, told as one picture's: the orchestrator tells no more."""
    told = _STEPS.search(progress.message)
    steps = int(told[1]) if told else 100
    return generator_pb2.GenerationProgress(step=round(progress.fraction * steps), num_steps=steps)


def _resolved(completed: orchestrator_pb2.GoalCompleted) -> generator_pb2.ResolvedGeneration:
    """What the record says of the spec that ran."""
    record = completed.records[0]
    told = record.parameters
    return generator_pb2.ResolvedGeneration(
        model=record.models[0] if record.models else None,
        width=record.width,
        height=record.height,
        num_images=len(completed.images),
        seed=int(told.get("seed", "0")),
        num_inference_steps=int(told.get("num_inference_steps", "0")),
        guidance_scale=float(told.get("guidance_scale", "0")),
        noise_schedule=told.get("noise_schedule", ""),
        dropped_prompt=told.get("dropped_prompt", ""),
        read_prompt=told.get("read_prompt", ""),
    )
