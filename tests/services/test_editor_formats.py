"""Files as photographers have them go through a real editor: format, metadata and frames are what was asked for."""

import io
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from PIL import Image

from diptych.v1 import editor_pb2, editor_pb2_grpc, image_pb2
from tests.services import editor_house as house


@pytest.fixture
async def stub(tmp_path: Path) -> AsyncIterator[editor_pb2_grpc.EditorServiceStub]:
    async with house.editor(house.write_models(tmp_path)) as (_, channel):
        yield editor_pb2_grpc.EditorServiceStub(channel)


def photo(kind: str, **options: object) -> bytes:
    tags = Image.Exif()
    tags[0x013B], tags[0x0112] = "Ann", 6
    tags.get_ifd(0x8825)[2] = (48.0, 12.0, 30.0)
    file = io.BytesIO()
    Image.fromarray(house.picture(40, 30)).save(file, kind, exif=tags, **options)
    return file.getvalue()


def request(content: bytes, **output: object) -> editor_pb2.EditImageRequest:
    spec = editor_pb2.EditSpec(
        image=image_pb2.Image(content=content),
        operations=[house.operation("crop", aspect="1:1")],
        output=image_pb2.OutputOptions(**output),  # type: ignore[arg-type]
    )
    return editor_pb2.EditImageRequest(spec=spec)


async def test_a_photo_comes_out_upright_with_what_may_be_known(stub: editor_pb2_grpc.EditorServiceStub) -> None:
    for policy, artist, place in ((0, None, False), (1, "Ann", True), (2, "Ann", False), (3, None, False)):
        answer = await stub.EditImage(request(photo("JPEG"), format=image_pb2.IMAGE_FORMAT_AVIF, metadata=policy))
        result = Image.open(io.BytesIO(answer.image.content))
        assert (result.format, result.size) == ("AVIF", (30, 30))
        tags = result.getexif()
        assert (tags.get(0x013B), bool(tags.get_ifd(0x8825)), tags.get(0x0112, 1)) == (artist, place, 1)


async def test_only_the_first_frame_is_edited_and_the_record_says_so(stub: editor_pb2_grpc.EditorServiceStub) -> None:
    film = photo("WEBP", save_all=True, append_images=[Image.new("RGB", (40, 30), (n * 60, 0, 0)) for n in range(4)])
    answer = await stub.EditImage(request(film))
    assert answer.records[0].parameters["input_frame"] == "1 of 5"
    assert "input_frame" not in (await stub.EditImage(request(photo("PNG")))).records[0].parameters


async def test_a_file_is_no_larger_than_asked_for(stub: editor_pb2_grpc.EditorServiceStub) -> None:
    jpeg = image_pb2.IMAGE_FORMAT_JPEG
    tags = {"format": jpeg, "metadata": image_pb2.METADATA_POLICY_KEEP, "max_bytes": 1100}
    answer = await stub.EditImage(request(photo("JPEG"), **tags))
    assert len(answer.image.content) <= 1100 and Image.open(io.BytesIO(answer.image.content)).getexif()[0x013B] == "Ann"
    assert 25 <= int(answer.records[0].parameters["output_quality"]) < 90
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.EditImage(request(photo("JPEG"), format=jpeg, max_bytes=100))
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert "spec.output.max_bytes" in (caught.value.details() or "")


async def test_how_a_result_cannot_be_written_is_said_before_any_work(stub: editor_pb2_grpc.EditorServiceStub) -> None:
    for output, field in (
        ({"format": image_pb2.IMAGE_FORMAT_TIFF}, "spec.output.format"),
        ({"format": image_pb2.IMAGE_FORMAT_AVIF, "lossless": True}, "spec.output.lossless"),
        ({"quality": 101}, "spec.output.quality"),
        ({"max_bytes": 0}, "spec.output.max_bytes"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.EditImage(request(photo("JPEG"), **output))
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert field in (caught.value.details() or "")
