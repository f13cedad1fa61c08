"""Malformed and hostile requests: each is INVALID_ARGUMENT with its field named, and the services go on."""

import io
import math
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from PIL import Image as Pillow
from stack import Stack

from diptych.v1 import editor_pb2, editor_pb2_grpc, generator_pb2, generator_pb2_grpc, image_pb2
from diptych.v1 import orchestrator_pb2 as orc
from diptych.v1 import orchestrator_pb2_grpc as orc_grpc

Image = image_pb2.Image
Spec = generator_pb2.GenerationSpec
Op = editor_pb2.Operation


def picture(format_: str, size: tuple[int, int] = (64, 48)) -> bytes:
    pixels = np.random.default_rng(1).integers(0, 255, (size[1], size[0], 3), np.uint8)
    buffer = io.BytesIO()
    Pillow.fromarray(pixels).save(buffer, format_)
    return buffer.getvalue()


def png_claiming(width: int, height: int) -> bytes:
    """A PNG whose header promises a size that its few bytes of data do not hold."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")
    )


PNG, JPEG, WEBP = picture("PNG"), picture("JPEG"), picture("WEBP")
GOOD = Image(content=PNG)
FLIP = Op(rotate=editor_pb2.Rotate(flip_horizontal=True))


def generate(**fields: Any) -> generator_pb2.GenerateImageRequest:
    return generator_pb2.GenerateImageRequest(spec=Spec(**{"prompt": "a tree", **fields}))


def edit(image: Image | None = GOOD, *operations: Op) -> editor_pb2.EditImageRequest:
    spec = editor_pb2.EditSpec(operations=operations or [FLIP])
    if image is not None:
        spec.image.CopyFrom(image)
    return editor_pb2.EditImageRequest(spec=spec)


def goal(text: str, **fields: Any) -> orc.RunGoalRequest:
    return orc.RunGoalRequest(goal=orc.Goal(text=text, **fields))


@dataclass(frozen=True)
class Case:
    name: str
    request: Any
    field: str


IMAGE = "spec.image"
CASES = [
    Case("truncated png", edit(Image(content=PNG[: len(PNG) // 2])), IMAGE),
    Case("truncated jpeg", edit(Image(content=JPEG[: len(JPEG) // 3])), IMAGE),
    Case("truncated webp", edit(Image(content=WEBP[: len(WEBP) // 2])), IMAGE),
    Case("png header alone", edit(Image(content=PNG[:30])), IMAGE),
    Case("jpeg said to be png", edit(Image(content=JPEG, format=image_pb2.IMAGE_FORMAT_PNG)), IMAGE),
    Case("png said to be webp", edit(Image(content=PNG, format=image_pb2.IMAGE_FORMAT_WEBP)), IMAGE),
    Case("png that lies about its size", edit(Image(content=png_claiming(900, 900))), IMAGE),
    Case("bomb of 50,000 x 50,000", edit(Image(content=png_claiming(50_000, 50_000))), IMAGE),
    Case("png of no width", edit(Image(content=png_claiming(0, 10))), IMAGE),
    Case("text file", edit(Image(content=b"once upon a time there was no picture at all")), IMAGE),
    Case("html", edit(Image(content=b"<html><svg onload=alert(1)></html>")), IMAGE),
    Case("empty bytes", edit(Image(content=b"")), IMAGE),
    Case("no image", edit(None), IMAGE),
    Case("raw too short", edit(Image(content=b"abc", format=image_pb2.IMAGE_FORMAT_RAW, width=9, height=9)), IMAGE),
    Case("raw without a size", edit(Image(content=b"abc" * 9, format=image_pb2.IMAGE_FORMAT_RAW)), IMAGE),
    Case(
        "raw of absurd size",
        edit(Image(content=b"a", format=image_pb2.IMAGE_FORMAT_RAW, width=2**31, height=2**31)),
        IMAGE,
    ),
    Case("unknown image format", edit(Image(content=PNG, format=99)), "spec.image.format"),  # type: ignore[arg-type]
    Case("no operations", editor_pb2.EditImageRequest(spec=editor_pb2.EditSpec(image=GOOD)), "spec.operations"),
    Case("empty operation", edit(GOOD, Op()), "spec.operations[0]"),
    Case(
        "resize to nothing",
        edit(GOOD, Op(resize=editor_pb2.Resize(width=0, height=10))),
        "spec.operations[0].resize.width",
    ),
    Case(
        "resize to a country",
        edit(GOOD, Op(resize=editor_pb2.Resize(width=4_000_000))),
        "spec.operations[0].resize.width",
    ),
    Case(
        "upscale by NaN",
        edit(GOOD, FLIP, Op(upscale=editor_pb2.Upscale(scale=math.nan))),
        "spec.operations[1].upscale.scale",
    ),
    Case(
        "upscale by minus two", edit(GOOD, Op(upscale=editor_pb2.Upscale(scale=-2))), "spec.operations[0].upscale.scale"
    ),
    Case(
        "crop of no area",
        edit(GOOD, Op(crop=editor_pb2.Crop(box=image_pb2.Box(width=0, height=5)))),
        "spec.operations[0].crop.box",
    ),
    Case(
        "crop outside",
        edit(GOOD, Op(crop=editor_pb2.Crop(box=image_pb2.Box(x=900, width=5, height=5)))),
        "spec.operations[0].crop.box",
    ),
    Case(
        "infinite exposure",
        edit(GOOD, Op(color_correct=editor_pb2.ColorCorrect(exposure=math.inf))),
        "spec.operations[0].color_correct.exposure",
    ),
    Case(
        "unknown fit",
        edit(GOOD, Op(resize=editor_pb2.Resize(width=9, height=9, fit=77))),
        "spec.operations[0].resize.fit",
    ),  # type: ignore[arg-type]
    Case("empty prompt", generate(prompt=""), "spec.prompt"),
    Case("prompt of 1 MB", generate(prompt="tree " * 200_000), "spec.prompt"),
    Case("width zero", generate(width=0), "spec.width"),
    Case("absurd height", generate(height=2**31), "spec.height"),
    Case("NaN guidance", generate(guidance_scale=math.nan), "spec.guidance_scale"),
    Case("negative guidance", generate(guidance_scale=-1.0), "spec.guidance_scale"),
    Case("no steps", generate(num_inference_steps=0), "spec.num_inference_steps"),
    Case("a million pictures", generate(num_images=1_000_000), "spec.num_images"),
    Case("unknown noise schedule", generate(noise_schedule="astrology"), "spec.noise_schedule"),
    Case("unknown output format", generate(output=image_pb2.OutputOptions(format=42)), "spec.output.format"),  # type: ignore[arg-type]
    Case("mask without a picture", generate(mask_image=GOOD), "spec.mask_image"),
    Case(
        "mask of another size",
        generate(init_image=GOOD, mask_image=Image(content=picture("PNG", (7, 5)))),
        "spec.mask_image",
    ),
    Case("truncated init image", generate(init_image=Image(content=PNG[:99])), "spec.init_image"),
    Case("strength of two", generate(init_image=GOOD, strength=2.0), "spec.strength"),
    Case("empty goal", goal(""), "goal.text"),
    Case("goal of 1 MB", goal("make it nicer " * 80_000), "goal.text"),
    Case(
        "goal with a broken picture",
        goal("make it brighter", images=[orc.ImageInput(image=Image(content=b"not one"))]),
        "goal.images[0]",
    ),
    Case("goal with an unset picture", goal("make it brighter", images=[orc.ImageInput()]), "goal.images[0]"),
    Case(
        "goal with an unknown format", goal("a tree", output=image_pb2.OutputOptions(format=42)), "goal.output.format"
    ),  # type: ignore[arg-type]
]


def call(stack: Stack, request: Any) -> Any:
    """The last answer to a request, by its type."""
    match request:
        case generator_pb2.GenerateImageRequest():
            with grpc.insecure_channel(stack.generator.address) as channel:
                return generator_pb2_grpc.GeneratorServiceStub(channel).GenerateImage(request, timeout=60)
        case editor_pb2.EditImageRequest():
            with grpc.insecure_channel(stack.editor.address) as channel:
                return editor_pb2_grpc.EditorServiceStub(channel).EditImage(request, timeout=60)
        case _:
            with grpc.insecure_channel(stack.orchestrator.address) as channel:
                return list(orc_grpc.OrchestratorServiceStub(channel).RunGoal(request, timeout=60))[-1]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_is_refused_with_its_field(stack: Stack, case: Case) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        call(stack, case.request)
    assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT, raised.value.details()
    status = rpc_status.from_call(raised.value)
    assert status is not None
    bad, info = error_details_pb2.BadRequest(), error_details_pb2.ErrorInfo()
    for detail in status.details:
        detail.Unpack(bad) or detail.Unpack(info)
    fields = [violation.field for violation in bad.field_violations]
    assert any(field.startswith(case.field) for field in fields), fields
    assert all(violation.description for violation in bad.field_violations)
    assert info.reason
    assert "Traceback" not in status.message
    assert "/" + "root" not in status.message


@pytest.mark.parametrize(
    "work",
    [
        lambda: generate(num_inference_steps=2, seed=1),
        lambda: edit(GOOD, FLIP, Op(color_correct=editor_pb2.ColorCorrect(exposure=0.5))),
        lambda: goal("flip it horizontally", images=[orc.ImageInput(image=GOOD)]),
    ],
    ids=["generator", "editor", "orchestrator"],
)
def test_the_services_go_on(stack: Stack, work: Callable[[], Any]) -> None:
    answer = call(stack, work())
    assert answer.ByteSize() > 100


def test_an_unknown_model_is_not_found(stack: Stack) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        call(stack, generate(model="no-such-model"))
    assert raised.value.code() == grpc.StatusCode.NOT_FOUND
    assert "no-such-model" in (raised.value.details() or "")


def test_what_is_not_served_says_so(stack: Stack) -> None:
    style = generator_pb2.ReferenceImage(image=GOOD, role=generator_pb2.REFERENCE_ROLE_STYLE)
    with pytest.raises(grpc.RpcError) as raised:
        call(stack, generate(references=[style]))
    assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert raised.value.details()
