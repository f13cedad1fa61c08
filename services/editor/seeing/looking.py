"""What is in a picture, of the kinds that this server can find, and which those are."""

import asyncio
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from diptych.errors import ModelNotPulled, Unsupported
from diptych.images import Pixels, to_message
from diptych.labels import FACE, TEXT
from diptych.v1 import editor_pb2, image_pb2
from services.editor.context import EditContext
from services.editor.faults import Faults
from services.editor.models import DEPTH, EditorModels
from services.editor.pixels.color_spaces import Floats
from services.editor.seeing import analysis, depth, faces, safety, text, things

Kind: TypeAlias = "editor_pb2.AnalysisKind.ValueType"

MEASURED: tuple[Kind, ...] = (
    editor_pb2.ANALYSIS_KIND_LIGHTING, editor_pb2.ANALYSIS_KIND_QUALITY, editor_pb2.ANALYSIS_KIND_PALETTE,
)  # fmt: skip
# The networks that a kind needs.
NETWORKS: dict[Kind, tuple[str, ...]] = {
    editor_pb2.ANALYSIS_KIND_FACES: (faces.DETECTOR, faces.MESH),
    editor_pb2.ANALYSIS_KIND_OBJECTS: (things.DETECTOR,),
    editor_pb2.ANALYSIS_KIND_TEXT: (text.DETECTOR,),
    editor_pb2.ANALYSIS_KIND_SAFETY: (safety.CLASSIFIER,),
}


def read_kinds(kinds: Sequence[int], faults: Faults) -> tuple[Kind, ...]:
    """What to look for, as the contract names it; other numbers are faults."""
    for index, kind in enumerate(kinds):
        if kind == editor_pb2.ANALYSIS_KIND_UNSPECIFIED:
            faults.item(index).add("is unspecified; say which kind")
        elif kind not in editor_pb2.AnalysisKind.values():
            faults.item(index).add(f"has no value {kind}; use one that the contract names")
    return tuple(editor_pb2.AnalysisKind.ValueType(kind) for kind in kinds)


async def kinds_to_find(wanted: Sequence[Kind], models: EditorModels) -> tuple[Kind, ...]:
    """The wanted kinds, or all that this server can find when none is named.

    Unsupported for a kind that has no model here, ModelNotPulled for one whose model is known and not on this machine.
    """
    can = await asyncio.to_thread(_served, models)
    for kind in wanted:
        if kind in can:
            continue
        missing = [name for name in NETWORKS.get(kind, ()) if models.state(name) == "NOT_PULLED"]
        if missing:
            raise ModelNotPulled(missing[0])
        advice = "; add a model whose task is depth" if kind == editor_pb2.ANALYSIS_KIND_DEPTH else ""
        raise Unsupported(f"kinds: {kind_name(kind)} is not served here; {', '.join(map(kind_name, can))} are{advice}")
    return tuple(dict.fromkeys(wanted)) or can


async def look(pixels: Pixels, kinds: Sequence[Kind], context: EditContext) -> editor_pb2.Analysis:
    """The findings of the kinds; what looked is recorded in `context`."""
    found = await context.compute(_measure, pixels, kinds)
    for kind in kinds:
        if kind in MEASURED:
            context.method(kind_name(kind), "numpy")
    limit = (pixels.shape[1], pixels.shape[0])
    if editor_pb2.ANALYSIS_KIND_FACES in kinds:
        for face in await faces.find_faces(pixels, context):
            found.faces.append(_detection(FACE, face.score, face.box, limit, face.landmarks))
    if editor_pb2.ANALYSIS_KIND_OBJECTS in kinds:
        for thing in await things.find_things(pixels, context):
            found.objects.append(_detection(thing.label, thing.score, thing.box, limit))
    if editor_pb2.ANALYSIS_KIND_TEXT in kinds:
        for line in await text.find_text(pixels, context):
            box = np.concatenate([line.corners.min(0), line.corners.max(0)])
            found.text.append(_detection(TEXT, line.score, box, limit, line.corners))
    if editor_pb2.ANALYSIS_KIND_SAFETY in kinds:
        found.safety.update(await safety.safety_scores(pixels, context))
    if editor_pb2.ANALYSIS_KIND_DEPTH in kinds:
        plane = await depth.find_depth(pixels, context, context.models.ready(DEPTH)[0])
        found.depth.CopyFrom(await context.compute(to_message, plane))
    return found


def kind_name(kind: int) -> str:
    """A kind in a word."""
    return editor_pb2.AnalysisKind.Name(editor_pb2.AnalysisKind.ValueType(kind)).removeprefix("ANALYSIS_KIND_").lower()


def _served(models: EditorModels) -> tuple[Kind, ...]:
    """Reads the disk."""
    seen = [kind for kind, names in NETWORKS.items() if all(models.state(name) == "READY" for name in names)]
    return (*MEASURED, *seen, *([editor_pb2.ANALYSIS_KIND_DEPTH] if models.ready(DEPTH) else []))


def _measure(pixels: Pixels, kinds: Sequence[Kind]) -> editor_pb2.Analysis:
    """The findings that need no model."""
    height, width = pixels.shape[:2]
    found = editor_pb2.Analysis(width=width, height=height, has_transparency=analysis.has_transparency(pixels))
    if editor_pb2.ANALYSIS_KIND_LIGHTING in kinds:
        found.lighting.CopyFrom(analysis.lighting(pixels))
    if editor_pb2.ANALYSIS_KIND_QUALITY in kinds:
        found.quality.CopyFrom(analysis.quality(pixels))
    if editor_pb2.ANALYSIS_KIND_PALETTE in kinds:
        found.palette.extend(analysis.palette(pixels))
    return found


def _detection(
    label: str, score: float, box: Floats, limit: tuple[int, int], landmarks: Floats | None = None
) -> editor_pb2.Detection:
    """The message, in whole pixels inside the picture of `limit`."""
    points = [] if landmarks is None else np.floor(landmarks).clip(0, np.array(limit) - 1).astype(int).tolist()
    return editor_pb2.Detection(
        label=label,
        score=score,
        box=whole_box(box, limit),
        landmarks=[image_pb2.Point(x=x, y=y) for x, y in points],
    )


def whole_box(box: Floats, limit: tuple[int, int]) -> image_pb2.Box:
    """The smallest box of whole pixels around (left, top, right, bottom), inside the picture and never empty."""
    width, height = limit
    left, top = int(np.floor(box[0]).clip(0, width - 1)), int(np.floor(box[1]).clip(0, height - 1))
    right, bottom = int(np.ceil(box[2]).clip(left + 1, width)), int(np.ceil(box[3]).clip(top + 1, height))
    return image_pb2.Box(x=left, y=top, width=right - left, height=bottom - top)
