"""Looks and passes the picture on; the findings are in the step record."""

from typing import Any

from google.protobuf.json_format import MessageToJson

from diptych.images import Pixels
from diptych.v1 import editor_pb2
from services.editor import analysis
from services.editor.context import EditContext
from services.editor.faults import Faults

SERVED = (editor_pb2.ANALYSIS_KIND_LIGHTING, editor_pb2.ANALYSIS_KIND_QUALITY, editor_pb2.ANALYSIS_KIND_PALETTE)


def read(message: editor_pb2.Analyze, faults: Faults) -> None:
    """Nothing: there are no parameters."""


async def apply(image: Pixels, parameters: None, context: EditContext) -> Pixels:
    """The same picture. Findings go into the record as JSON, by the field names of `Analysis`."""
    found = await context.compute(look, image, SERVED)
    record_methods(SERVED, context)
    context.note(has_transparency=found.has_transparency, lighting=_json(found.lighting), quality=_json(found.quality))
    context.note(palette=", ".join(f"{color.color} {color.name} {color.fraction:.3f}" for color in found.palette))
    return image


def look(image: Pixels, kinds: tuple[int, ...]) -> editor_pb2.Analysis:
    """The findings of the given kinds, each of them one of `SERVED`."""
    found = editor_pb2.Analysis(
        width=image.shape[1], height=image.shape[0], has_transparency=analysis.has_transparency(image)
    )
    if editor_pb2.ANALYSIS_KIND_LIGHTING in kinds:
        found.lighting.CopyFrom(analysis.lighting(image))
    if editor_pb2.ANALYSIS_KIND_QUALITY in kinds:
        found.quality.CopyFrom(analysis.quality(image))
    if editor_pb2.ANALYSIS_KIND_PALETTE in kinds:
        found.palette.extend(analysis.palette(image))
    return found


def record_methods(kinds: tuple[int, ...], context: EditContext) -> None:
    """Records what looked."""
    for kind in kinds:
        context.method(
            editor_pb2.AnalysisKind.Name(editor_pb2.AnalysisKind.ValueType(kind))
            .removeprefix("ANALYSIS_KIND_")
            .lower(),
            "numpy",
        )


def _json(message: Any) -> str:
    return MessageToJson(
        message, indent=None, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
