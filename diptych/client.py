"""`AsyncClient`: every RPC with v1 messages, and on top of them the friendly calls."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Any, Literal, TypeVar, get_args

from google.protobuf.message import Message

from diptych.calls import Calls
from diptych.collecting import collect_edit, collect_generation, collect_goal
from diptych.errors import FieldViolation, InvalidRequest
from diptych.events import (
    OnEvent,
)
from diptych.filming import FilmFormat, collect_film, duration_message, film_format
from diptych.findings import AnalyzeResult
from diptych.guides import Constraint, Reference
from diptych.inputs import PictureInput, to_message
from diptych.operations import OperationInput, to_operations
from diptych.plans import Plan
from diptych.types import (
    CreateResult,
    EditResult,
    FilmResult,
    GenerateResult,
    ModelInfo,
)
from diptych.v1 import editor_pb2, generator_pb2, image_pb2, model_pb2, orchestrator_pb2

Format = Literal["png", "jpeg", "webp", "avif", "raw"]
Metadata = Literal["keep", "strip_location", "strip_all"]
Motion = Literal["pan", "zoom_in", "zoom_out", "orbit"]
M = TypeVar("M", bound=Message)


class AsyncClient(Calls):
    """Talks to orchestrator, generator and editor.

    Addresses are `host:port`; without one the environment decides (`DIPTYCH_ADDRESS`, `DIPTYCH_GENERATOR_ADDRESS`,
    `DIPTYCH_EDITOR_ADDRESS`), else 127.0.0.1 with ports 50050, 50051 and 50052. Every failure is a `DiptychError`.
    `timeout` is in seconds and covers the whole call. `on_event` is called on the event loop: keep it quick.
    """

    async def create(
        self,
        goal: str,
        *,
        images: Sequence[PictureInput] = (),
        format: Format | None = None,
        max_bytes: int | None = None,
        conversation: str = "",
        profile: str = "",
        seed: int | None = None,
        preview_interval: int = 0,
        on_event: OnEvent | None = None,
        timeout: float | None = None,
    ) -> CreateResult:
        """What comes of a goal in plain words. ClarificationNeeded when it cannot be done without asking.

        Goals of one `conversation` may speak of earlier ones; `profile` is a brand that the server knows; the same
        goal and `seed` draw the same pictures.
        """
        request = _message(
            orchestrator_pb2.RunGoalRequest,
            goal=await _goal(goal, images, _output(format, max_bytes=max_bytes), conversation, profile, seed),
            preview_interval=preview_interval,
        )
        async with aclosing(self.run_goal(request, timeout=timeout)) as responses:
            return await collect_goal(responses, on_event)

    async def plan(
        self,
        goal: str,
        *,
        images: Sequence[PictureInput] = (),
        assumed_images: int | None = None,
        format: Format | None = None,
        max_bytes: int | None = None,
        conversation: str = "",
        profile: str = "",
        seed: int | None = None,
        timeout: float | None = None,
    ) -> Plan:
        """What would be done. `assumed_images` plans as though so many pictures were attached."""
        request = _message(
            orchestrator_pb2.PlanGoalRequest,
            goal=await _goal(goal, images, _output(format, max_bytes=max_bytes), conversation, profile, seed),
            assumed_images=assumed_images,
        )
        return Plan.from_message((await self.plan_goal(request, timeout=timeout)).plan)

    async def run(
        self,
        plan: Plan | orchestrator_pb2.Plan,
        *,
        images: Sequence[PictureInput] = (),
        conversation: str = "",
        preview_interval: int = 0,
        on_event: OnEvent | None = None,
        timeout: float | None = None,
    ) -> CreateResult:
        """What comes of exactly this plan; kept in the `conversation` that it was made for."""
        request = _message(
            orchestrator_pb2.RunPlanRequest,
            plan=plan.message if isinstance(plan, Plan) else plan,
            images=await _inputs(images),
            conversation_id=conversation,
            preview_interval=preview_interval,
        )
        async with aclosing(self.run_plan(request, timeout=timeout)) as responses:
            return await collect_goal(responses, on_event)

    async def generate(
        self,
        prompt: str,
        *,
        negative_prompt: str = "",
        model: str = "",
        width: int | None = None,
        height: int | None = None,
        num_images: int | None = None,
        seed: int | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        noise_schedule: str = "",
        init_image: PictureInput | None = None,
        strength: float | None = None,
        mask_image: PictureInput | None = None,
        references: Sequence[Reference] = (),
        constraints: Sequence[Constraint] = (),
        format: Format | None = None,
        max_bytes: int | None = None,
        preview_interval: int = 0,
        on_event: OnEvent | None = None,
        timeout: float | None = None,
    ) -> GenerateResult:
        """Pictures of a prompt; what is left out is the model's default. Names are diffusers'."""
        spec = _message(
            generator_pb2.GenerationSpec,
            prompt=prompt,
            negative_prompt=negative_prompt,
            model=model,
            width=width,
            height=height,
            num_images=num_images,
            seed=seed,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            noise_schedule=noise_schedule,
            init_image=await _image(init_image, "init_image"),
            strength=strength,
            mask_image=await _image(mask_image, "mask_image"),
            references=await _guides(references, "references"),
            constraints=await _guides(constraints, "constraints"),
            output=_output(format, max_bytes=max_bytes),
        )
        if on_event is None:  # What nobody hears need not cross the wire.
            response = await self.generate_image(generator_pb2.GenerateImageRequest(spec=spec), timeout=timeout)
            return GenerateResult.from_messages(response.images, response)
        request = _message(generator_pb2.StreamGenerateImageRequest, spec=spec, preview_interval=preview_interval)
        async with aclosing(self.stream_generate_image(request, timeout=timeout)) as responses:
            return await collect_generation(responses, on_event)

    async def animate_latents(
        self,
        prompts: Sequence[str],
        *,
        seeds: Sequence[int] = (),
        negative_prompt: str = "",
        model: str = "",
        width: int | None = None,
        height: int | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        duration: float | None = None,
        frames_per_second: float | None = None,
        loop: bool | None = None,
        format: FilmFormat = "mp4",
        on_event: OnEvent | None = None,
        timeout: float | None = None,
    ) -> FilmResult:
        """A film that walks from prompt to prompt. `seeds`: none, one for all, or one for each; `duration` in s."""
        request = _message(
            generator_pb2.StreamAnimateLatentsRequest,
            keyframes=_keyframes(prompts, seeds),
            model=model,
            negative_prompt=negative_prompt,
            width=width,
            height=height,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            duration=None if duration is None else duration_message(duration),
            frames_per_second=frames_per_second,
            loop=loop,
            format=film_format(format),
        )
        async with aclosing(self.stream_animate_latents(request, timeout=timeout)) as responses:
            return await collect_film(responses, "generator", "animate", on_event)

    async def animate(
        self,
        image: PictureInput,
        *,
        motion: Motion = "zoom_in",
        amount: float | None = None,
        duration: float | None = None,
        frames_per_second: float | None = None,
        parallax: bool | None = None,
        direction: float | None = None,
        max_side: int | None = None,
        format: FilmFormat = "mp4",
        on_event: OnEvent | None = None,
        timeout: float | None = None,
    ) -> FilmResult:
        """A film of a still, through a moving camera. `duration` in s, `direction` of a pan in degrees clockwise."""
        request = _message(
            editor_pb2.StreamAnimateImageRequest,
            image=await _image(image, "image"),
            motion=_number(editor_pb2.CameraMotion, motion, "motion", get_args(Motion)),
            amount=amount,
            duration=None if duration is None else duration_message(duration),
            frames_per_second=frames_per_second,
            parallax=parallax,
            direction=direction,
            max_side=max_side,
            format=film_format(format),
        )
        async with aclosing(self.stream_animate_image(request, timeout=timeout)) as responses:
            return await collect_film(responses, "editor", "animate", on_event)

    async def edit(
        self,
        image: PictureInput,
        operations: Iterable[OperationInput] | OperationInput,
        *,
        format: Format | None = None,
        quality: int | None = None,
        lossless: bool = False,
        metadata: Metadata | None = None,
        max_bytes: int | None = None,
        dpi: int | None = None,
        on_event: OnEvent | None = None,
        timeout: float | None = None,
    ) -> EditResult:
        """The picture after these operations, in order: texts such as "upscale:scale=4", or v1 messages.

        `metadata` of the file to keep; the service strips all unless told otherwise. `max_bytes`: the file has the best
        quality that is no larger. `dpi`: dots per inch that it says it is to be printed with.
        """
        output = _output(
            format, quality=quality, lossless=lossless or None, metadata=metadata, max_bytes=max_bytes, dpi=dpi
        )
        spec = editor_pb2.EditSpec(
            image=await _image(image, "image"), operations=to_operations(operations), output=output
        )
        request = editor_pb2.StreamEditImageRequest(spec=spec)
        async with aclosing(self.stream_edit_image(request, timeout=timeout)) as responses:
            names = [operation.WhichOneof("operation") or "" for operation in spec.operations]
            return await collect_edit(responses, names, on_event)

    async def analyze(
        self, image: PictureInput, *, kinds: Iterable[str] = (), timeout: float | None = None
    ) -> AnalyzeResult:
        """What is in a picture and how it is lit. `kinds` such as "palette"; none means all that the editor can."""
        known = {name.removeprefix("ANALYSIS_KIND_").lower(): n for name, n in editor_pb2.AnalysisKind.items() if n}
        wanted = list(kinds)
        if unknown := [kind for kind in wanted if kind not in known]:
            raise InvalidRequest.single("kinds", f"{unknown[0]!r} is none of {', '.join(known)}")
        request = editor_pb2.AnalyzeImageRequest(
            image=await _image(image, "image"), kinds=[known[kind] for kind in wanted]
        )
        answer = await self.analyze_image(request, timeout=timeout)
        return AnalyzeResult.from_message(answer.analysis, answer.record)

    async def models(self, *, task: str = "", timeout: float | None = 10.0) -> tuple[ModelInfo, ...]:
        """The models of generator and editor."""
        request = model_pb2.ListModelsRequest(task=task)
        generator, editor = await asyncio.gather(
            self.list_models(request, service="generator", timeout=timeout),
            self.list_models(request, service="editor", timeout=timeout),
        )
        lists = (("generator", generator), ("editor", editor))
        return tuple(ModelInfo.from_message(service, model) for service, answer in lists for model in answer.models)


def _output(
    format: Format | None,
    *,
    quality: int | None = None,
    lossless: bool | None = None,
    metadata: Metadata | None = None,
    max_bytes: int | None = None,
    dpi: int | None = None,
) -> image_pb2.OutputOptions | None:
    fields = {
        "format": None if format is None else _number(image_pb2.ImageFormat, format, "format", get_args(Format)),
        "metadata": metadata and _number(image_pb2.MetadataPolicy, metadata, "metadata", get_args(Metadata)),
        "quality": quality,
        "lossless": lossless,
        "max_bytes": max_bytes,
        "dpi": dpi,
    }
    if all(value is None for value in fields.values()):
        return None
    return _message(image_pb2.OutputOptions, **fields)


def _number(kind: Any, word: str, field: str, known: Sequence[str]) -> int:
    """The number of the enum value that is called `word`."""
    if word not in known:
        raise InvalidRequest.single(field, f"{word!r} is none of {', '.join(known)}")
    return next(int(number) for name, number in kind.items() if name.endswith(f"_{word.upper()}"))


def _message(kind: Callable[..., M], **fields: Any) -> M:
    """A message of the fields that are not None. InvalidRequest names those that it cannot hold."""
    message = kind()
    faults = []
    for key, value in fields.items():
        if value is None:
            continue
        try:
            message.MergeFrom(kind(**{key: value}))
        except (TypeError, ValueError):
            faults.append(FieldViolation(key, f"{value!r} is out of range or of the wrong type"))
    if faults:
        raise InvalidRequest(faults)
    return message


def _keyframes(prompts: Sequence[str], seeds: Sequence[int]) -> list[generator_pb2.LatentKeyframe]:
    if isinstance(prompts, str):
        raise InvalidRequest.single("prompts", "give a list of prompts, not one")
    if len(seeds) not in (0, 1, len(prompts)):
        raise InvalidRequest.single("seeds", f"has {len(seeds)} for {len(prompts)} prompts; give one, or one for each")
    each: list[int | None] = [*seeds] if seeds else [None]
    each = each if len(each) == len(prompts) else each * len(prompts)
    return [
        _message(generator_pb2.LatentKeyframe, prompt=prompt, seed=seed)
        for prompt, seed in zip(prompts, each, strict=True)
    ]


async def _image(source: PictureInput | None, field: str) -> image_pb2.Image | None:
    # Reading and encoding may take a while: off the event loop, where other calls are served.
    return None if source is None else await asyncio.to_thread(to_message, source, field)


async def _guides(guides: Sequence[Reference | Constraint], field: str) -> list[Message]:
    if isinstance(guides, Reference | Constraint):
        raise InvalidRequest.single(field, "give a list, not one")
    return [await asyncio.to_thread(guide.to_message, f"{field}[{number}]") for number, guide in enumerate(guides)]


async def _inputs(images: Sequence[PictureInput]) -> list[orchestrator_pb2.ImageInput]:
    if isinstance(images, str | bytes):
        raise InvalidRequest.single("images", "give a list of pictures, not one")
    made = [await _image(image, f"images[{number}]") for number, image in enumerate(images)]
    return [orchestrator_pb2.ImageInput(image=image) for image in made]


async def _goal(
    text: str,
    images: Sequence[PictureInput],
    output: image_pb2.OutputOptions | None,
    conversation: str,
    profile: str,
    seed: int | None,
) -> orchestrator_pb2.Goal:
    return _message(
        orchestrator_pb2.Goal,
        text=text,
        images=await _inputs(images),
        output=output,
        conversation_id=conversation,
        profile=profile,
        seed=seed,
    )
