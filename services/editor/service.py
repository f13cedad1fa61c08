"""EditorService: each call checked, admitted, and handed to the editor."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc
import numpy as np

from diptych.images import Pixels, to_message
from diptych.serving.admission import Admission
from diptych.serving.context import current_request
from diptych.v1 import editor_pb2, editor_pb2_grpc, image_pb2
from services.editor.animate import animate, animation_request
from services.editor.context import EditContext
from services.editor.convert import analysis_kinds, check_image, edit_request, select_request
from services.editor.cutting import selection
from services.editor.cutting.finding import Found
from services.editor.cutting.matting import box_of
from services.editor.editing import Editor, timing
from services.editor.faults import Faults
from services.editor.seeing.looking import kinds_to_find, look

SERVICE_NAME = "diptych.v1.EditorService"

Context = grpc.aio.ServicerContext[Any, Any]


class EditorServicer(editor_pb2_grpc.EditorServiceServicer):
    """The RPCs of `diptych.v1.EditorService`."""

    def __init__(self, editor: Editor, admission: Admission) -> None:
        self._editor = editor
        self._admission = admission

    async def EditImage(self, request: editor_pb2.EditImageRequest, context: Context) -> editor_pb2.EditImageResponse:
        """The result and a record for each operation: the stream of `StreamEditImage`, drained."""
        response = editor_pb2.EditImageResponse()
        async with aclosing(self._events(request.spec)) as events:
            async for event in events:
                kind = event.WhichOneof("event")
                if kind == "step":
                    response.records.append(event.step)
                elif kind == "image":
                    response.image.CopyFrom(event.image)
                elif kind == "completed":
                    response.marking.CopyFrom(event.completed.marking)
                    response.timing.CopyFrom(event.completed.timing)
        return response

    async def StreamEditImage(
        self, request: editor_pb2.StreamEditImageRequest, context: Context
    ) -> AsyncIterator[editor_pb2.StreamEditImageResponse]:
        """One `accepted`; for each operation its `progress`, then one `step`; one `image`; one `completed`."""
        async with aclosing(self._events(request.spec)) as events:
            async for event in events:
                yield event

    async def AnalyzeImage(
        self, request: editor_pb2.AnalyzeImageRequest, context: Context
    ) -> editor_pb2.AnalyzeImageResponse:
        """What is in the picture."""
        faults = Faults("image")
        check_image(request.image, request.HasField("image"), faults)
        faults.raise_any()
        wanted = analysis_kinds(request.kinds)
        kinds = await kinds_to_find(wanted, self._editor.models)
        current = current_request()
        async with self._admission.permit(current.deadline):
            pixels = await self._editor.decode(request.image, "image")
            surroundings = self._editor.surroundings("image", current.deadline)
            found = await look(pixels, kinds, surroundings)
        return editor_pb2.AnalyzeImageResponse(analysis=found, record=_record("analyze", surroundings, pixels))

    async def SelectRegion(
        self, request: editor_pb2.SelectRegionRequest, context: Context
    ) -> editor_pb2.SelectRegionResponse:
        """A mask for what is pointed at; an empty one where a label names nothing in the picture."""
        wanted = select_request(request)
        current = current_request()
        async with self._admission.permit(current.deadline):
            pixels = await self._editor.decode(request.image, "image")
            surroundings = self._editor.surroundings("selection", current.deadline)
            found = await selection.find(wanted, pixels, surroundings)
            if not surroundings.used:
                surroundings.method("selection", "numpy")
            answer = await surroundings.compute(_answer, found)
        answer.record.CopyFrom(_record("select", surroundings, pixels))
        return answer

    async def StreamAnimateImage(
        self, request: editor_pb2.StreamAnimateImageRequest, context: Context
    ) -> AsyncIterator[editor_pb2.StreamAnimateImageResponse]:
        """One `accepted`; one `progress` for each frame; one `completed` with the film."""
        wanted = animation_request(request)
        current = current_request()
        async with self._admission.permit(current.deadline), aclosing(animate(wanted, self._editor, current)) as events:
            async for event in events:
                yield event

    async def _events(self, spec: editor_pb2.EditSpec) -> AsyncGenerator[editor_pb2.StreamEditImageResponse, None]:
        request = edit_request(spec)
        current = current_request()
        async with self._admission.permit(current.deadline), aclosing(self._editor.edit(request, current)) as events:
            async for event in events:
                yield event


def _answer(found: Found) -> editor_pb2.SelectRegionResponse:
    """Mask, box and score; no box and score 0 when nothing is selected."""
    answer = editor_pb2.SelectRegionResponse(mask=to_message(np.rint(found.mask * 255).astype(np.uint8)))
    box = box_of(found.mask)
    if box is not None:
        left, top, right, bottom = box
        answer.box.CopyFrom(image_pb2.Box(x=left, y=top, width=right - left, height=bottom - top))
        answer.score = found.score
    return answer


def _record(operation: str, surroundings: EditContext, pixels: Pixels) -> image_pb2.StepRecord:
    return image_pb2.StepRecord(
        step_id="1",
        service="editor",
        operation=operation,
        models=surroundings.used,
        timing=timing(current_request().clock),
        width=pixels.shape[1],
        height=pixels.shape[0],
        parameters=surroundings.resolved,
    )
