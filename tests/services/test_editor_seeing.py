"""What the editor finds in real photographs, with its default models."""

import numpy as np
import pytest

from diptych.images import from_message, to_message
from diptych.v1 import editor_pb2, editor_pb2_grpc, image_pb2
from tests.services import real_editor as real

FACES, OBJECTS, TEXT, SAFETY = (
    editor_pb2.ANALYSIS_KIND_FACES, editor_pb2.ANALYSIS_KIND_OBJECTS, editor_pb2.ANALYSIS_KIND_TEXT,
    editor_pb2.ANALYSIS_KIND_SAFETY,
)  # fmt: skip
NETWORKS = ("blazeface", "facemesh", "centernet", "pp-ocr-detection", "nsfw-mobilenet")


async def analyze(pixels: np.ndarray, *kinds: int) -> editor_pb2.AnalyzeImageResponse:
    async with real.editor(*NETWORKS) as channel:
        stub = editor_pb2_grpc.EditorServiceStub(channel)
        return await stub.AnalyzeImage(editor_pb2.AnalyzeImageRequest(image=to_message(pixels), kinds=kinds))  # type: ignore[no-any-return]


def overlap(one: image_pb2.Box, other: tuple[int, int, int, int]) -> float:
    """Intersection over union with left, top, right, bottom."""
    width = min(one.x + one.width, other[2]) - max(one.x, other[0])
    height = min(one.y + one.height, other[3]) - max(one.y, other[1])
    shared = max(width, 0) * max(height, 0)
    return shared / (one.width * one.height + (other[2] - other[0]) * (other[3] - other[1]) - shared)


async def test_everything_that_can_be_found_is_found_by_default() -> None:
    response = await analyze(real.astronaut())
    found = response.analysis
    (face,) = found.faces
    assert overlap(face.box, (178, 69, 273, 177)) > 0.8 and face.score > 0.7
    points = np.array([(point.x, point.y) for point in face.landmarks])
    assert points.shape == (468, 2)
    # Measured by eye on the picture: the outer corners of the eyes, the tip of the nose.
    for index, place in {33: (193, 100), 263: (259, 103), 1: (225, 125)}.items():
        assert np.hypot(*(points[index] - place)) < 8, (index, points[index])
    assert [one.label for one in found.objects] == ["person"]
    assert overlap(found.objects[0].box, (8, 5, 370, 512)) > 0.85
    assert not found.text and found.safety["neutral"] > 0.8 and found.safety["unsafe"] < 0.1
    assert found.HasField("lighting") and found.HasField("quality") and found.palette and not found.HasField("depth")
    used = [model.name for model in response.record.models]
    assert {"blazeface", "facemesh", "centernet", "pp-ocr-detection", "nsfw-mobilenet", "lighting"} <= set(used)


async def test_places_follow_the_picture_when_it_is_large_turned_and_cut_out() -> None:
    large = np.kron(real.astronaut(), np.ones((8, 8, 1), np.uint8))[:, :3900]  # 16 megapixels
    alpha = np.full((*large.shape[:2], 1), 255, np.uint8)
    alpha[3000:] = 0
    found = (await analyze(np.dstack([large, alpha]), FACES)).analysis
    (face,) = found.faces
    assert overlap(face.box, (1424, 552, 2184, 1416)) > 0.8
    assert not found.objects and not found.safety and not found.HasField("lighting")
    sideways = np.ascontiguousarray(np.rot90(real.astronaut(), -1)[:400])
    turned = (await analyze(sideways, FACES)).analysis
    (face,) = turned.faces
    assert overlap(face.box, (512 - 177, 178, 512 - 69, 273)) > 0.7


async def test_a_cat_is_a_cat_and_no_face_and_a_page_has_lines() -> None:
    found = (await analyze(real.cat(), FACES, OBJECTS, SAFETY)).analysis
    assert not found.faces and found.objects[0].label == "cat" and found.safety["unsafe"] < 0.2
    lines = (await analyze(real.page(), TEXT)).analysis.text
    assert 5 <= len(lines) <= 10
    assert all(len(line.landmarks) == 4 and line.box.width > line.box.height for line in lines)


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 200, 4), (300, 2, 3)])
async def test_tiny_and_thin_pictures_are_looked_at_too(shape: tuple[int, int, int]) -> None:
    found = (await analyze(np.zeros(shape, np.uint8))).analysis
    assert (found.height, found.width) == shape[:2] and not found.faces


async def test_the_findings_are_in_the_record_of_an_edit() -> None:
    async with real.editor(*NETWORKS) as channel:
        stub = editor_pb2_grpc.EditorServiceStub(channel)
        spec = editor_pb2.EditSpec(image=to_message(real.coffee()))
        spec.operations.add().analyze.SetInParent()
        response = await stub.EditImage(editor_pb2.EditImageRequest(spec=spec))
    assert np.array_equal(from_message(response.image, field="image"), real.coffee())
    assert response.records[0].parameters["objects"].startswith("cup 0.6")
    assert response.records[0].parameters["faces"] == "" and "neutral 0.9" in response.records[0].parameters["safety"]
