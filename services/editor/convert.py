"""From messages to checked requests: every fault at once, each under the path that the contract gives it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from diptych.errors import Unsupported
from diptych.images import output_faults
from diptych.outputs import Output
from diptych.v1 import editor_pb2, image_pb2
from services.editor.cutting.selection import SelectionRequest, read_selection
from services.editor.faults import Faults
from services.editor.models import DENOISE, INPAINTING, LANDMARKS, MATTING, NAMED_STYLE, UPSCALE
from services.editor.operations import EDITS, Edit
from services.editor.seeing.looking import read_kinds

MOST_OPERATIONS = 32
# What a `model` in these operations must be for.
_TASKS = {
    "remove_background": MATTING,
    "replace_background": MATTING,
    "blur_background": MATTING,
    "remove_object": INPAINTING,
    "enhance": DENOISE,
    "denoise": DENOISE,
    "deblur": DENOISE,
    "upscale": UPSCALE,
    "retouch": LANDMARKS,
    "style_transfer": NAMED_STYLE,
}


@dataclass(frozen=True)
class OperationRequest:
    """One checked operation. `path` is its field, such as `spec.operations[0].upscale`."""

    path: str
    edit: Edit
    parameters: Any
    selection: SelectionRequest | None
    model: str
    task: str


@dataclass(frozen=True)
class EditRequest:
    """A checked edit; the picture itself is decoded later, off the event loop."""

    image: image_pb2.Image
    operations: tuple[OperationRequest, ...]
    output: Output


def edit_request(spec: editor_pb2.EditSpec) -> EditRequest:
    """The checked request. InvalidRequest with all faults; Unsupported for what this server lacks."""
    faults = Faults("spec")
    check_image(spec.image, spec.HasField("image"), faults / "image")
    count = len(spec.operations)
    if not 1 <= count <= MOST_OPERATIONS:
        (faults / "operations").add(f"has {count} elements; give 1 to {MOST_OPERATIONS}")
    unsupported: list[str] = []
    operations = [
        read
        for index, message in enumerate(spec.operations[:MOST_OPERATIONS])
        if (read := _operation(message, (faults / "operations").item(index), unsupported)) is not None
    ]
    output = _output(spec.output, faults / "output")
    faults.raise_any()
    if unsupported:
        raise Unsupported("; ".join(unsupported))
    return EditRequest(spec.image, tuple(operations), output)


def check_image(image: image_pb2.Image, present: bool, faults: Faults) -> None:
    """Records what can be said of a picture without decoding it."""
    if not present or not image.content:
        (faults / "content").add("is empty; send the bytes of a picture")
    faults.choice(image, "format", image_pb2.ImageFormat.values())


def analysis_kinds(kinds: Sequence[int]) -> tuple[editor_pb2.AnalysisKind.ValueType, ...]:
    """What to look for; InvalidRequest for kinds that the contract does not name."""
    faults = Faults("kinds")
    found = read_kinds(kinds, faults)
    faults.raise_any()
    return found


def select_request(request: editor_pb2.SelectRegionRequest) -> SelectionRequest:
    """The checked selection."""
    faults = Faults("")
    check_image(request.image, request.HasField("image"), faults / "image")
    selection = read_selection(request.selection, faults / "selection")
    faults.raise_any()
    return selection


def _operation(message: editor_pb2.Operation, faults: Faults, unsupported: list[str]) -> OperationRequest | None:
    name = message.WhichOneof("operation")
    if name is None:
        faults.add(f"names no operation; set one of {', '.join(EDITS)}")
        return None
    place = faults / name
    if name not in EDITS:
        unsupported.append(f"{place.path}: {name} is not served here; {', '.join(EDITS)} are")
        return None
    edit = EDITS[name]
    inner = getattr(message, name)
    selection = None
    if message.HasField("selection"):
        if edit.selectable(inner):
            selection = read_selection(message.selection, faults / "selection")
        else:
            (faults / "selection").add(f"cannot bind {name}, which acts on the whole picture; leave it out")
    model = inner.model if name in _TASKS else ""
    return OperationRequest(place.path, edit, edit.read(inner, place), selection, model, _TASKS.get(name, ""))


def _output(message: image_pb2.OutputOptions, faults: Faults) -> Output:
    for fault in output_faults(message):
        (faults / fault.field).add(fault.description)
    return Output.of(message)
