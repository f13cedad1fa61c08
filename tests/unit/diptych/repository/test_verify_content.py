import io
import json
import pickle
import zipfile
from collections.abc import Sequence
from pathlib import Path

import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from diptych.errors import DataCorrupted
from diptych.repository.verify import check_content, check_hash, outside_data

from .conftest import Workbench, onnx_bytes, own_file, sha256


def safetensors(header: object, content: bytes = b"") -> bytes:
    """A file of this header, an object or text."""
    text = header.encode() if isinstance(header, str) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content


def tensor(begin: int, end: int, *shape: int, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def model(*tensors: TensorProto, nodes: Sequence[onnx.NodeProto] = ()) -> bytes:
    """A model of these initializers."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N"])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N"])]
    made = nodes or [helper.make_node("Identity", ["x"], ["y"])]
    return bytes(helper.make_model(helper.make_graph(made, "g", inputs, outputs, tensors)).SerializeToString())


def outside(location: str) -> TensorProto:
    """A tensor whose numbers lie elsewhere."""
    kept = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    kept.external_data.add(key="location", value=location)
    return kept


def torch_archive() -> bytes:
    """What torch.save writes: a zip with a pickle in it."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"w": [1.0]}))
    return stream.getvalue()


SAFETENSORS = safetensors({"a": tensor(0, 8, 2), "b": tensor(8, 11, 3, dtype="U8")}, b"\1" * 11)
GOOD = {
    ".onnx": onnx_bytes(),
    ".safetensors": SAFETENSORS,
    ".json": '{"word": "Ä"}'.encode(),
    ".toml": b"key = 1",
    ".txt": b"words",
    ".md": b"# words",
}


def write(folder: Path, suffix: str, content: bytes) -> Path:
    path = folder / f"file{suffix}"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("suffix", GOOD)
def test_each_format_is_known_by_its_content(tmp_path: Path, suffix: str) -> None:
    check_content(write(tmp_path, suffix, GOOD[suffix]), label="it")


@pytest.mark.parametrize("suffix", [*GOOD, ".bin", ""])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_refused_under_every_name(tmp_path: Path, suffix: str, protocol: int) -> None:
    path = write(tmp_path, suffix, pickle.dumps({"weights": [1.0, 2.0], "text": "x\0"}, protocol))
    if suffix in (".txt", ".md") and protocol == 0:
        check_content(path, label="it")  # it is plain text, and as such it is never loaded as anything else
        return
    with pytest.raises(DataCorrupted, match=r"^it "):
        check_content(path, label="it")


@pytest.mark.parametrize(
    ("suffix", "content", "fault"),
    [
        (".onnx", b"", "is no ONNX model"),
        (".onnx", b"version https://git-lfs", "is no ONNX model"),
        (".onnx", onnx_bytes()[:-1], "is no ONNX model"),
        (".onnx", b"\x08\x09", "is no ONNX model"),
        (".safetensors", b"\xff" * 20, "is no safetensors file"),
        (".safetensors", SAFETENSORS[:10], "is no safetensors file"),
        (".safetensors", (2).to_bytes(8, "little") + b"[]", "is no safetensors file"),
        (".safetensors", (2**63).to_bytes(8, "little") + b"{}", "is no safetensors file"),
        (".safetensors", safetensors("[" * 200_000), "is no safetensors file"),
        (".safetensors", safetensors('{"a": 1, "a": 2}'), "is no safetensors file"),
        (".safetensors", safetensors({"a": tensor(0, 8, 2)}, b"\1" * 7), "end outside of it"),
        (".safetensors", safetensors({"a": tensor(0, 8, 2)}, b"\1" * 9), "belong to no tensor"),
        (".safetensors", safetensors({"a": tensor(0, 8, 2), "b": tensor(4, 12, 2)}, b"\1" * 12), "overlap"),
        (".safetensors", safetensors({"a": tensor(4, 12, 2)}, b"\1" * 12), "belong to none"),
        (".safetensors", safetensors({"a": tensor(0, 8, 3)}, b"\1" * 8), "cannot be of tensor 'a'"),
        (".safetensors", safetensors({"a": tensor(0, 8, 2, dtype="PICKLE")}, b"\1" * 8), "cannot be of tensor 'a'"),
        (".safetensors", safetensors({"a": tensor(-8, 0, 2)}, b"\1" * 8), "cannot be of tensor 'a'"),
        (".safetensors", safetensors({"a": tensor(0, 8, -1, -2)}, b"\1" * 8), "cannot be of tensor 'a'"),
        (".safetensors", safetensors({"a": tensor(0, 0, 2**62, 2**62, 0)}, b"\1"), "belong to no tensor"),
        (".safetensors", safetensors({"__metadata__": {"a": 1}}), "metadata that are not texts"),
        (".safetensors", torch_archive(), "may hold one"),
        (".onnx", torch_archive(), "may hold one"),
        (".onnx", b"\x3a\x03\x0a\x09\x01", "is no ONNX model"),
        (".onnx", b"\x3a\x02\x0b\x0c", "is no ONNX model"),
        (".json", b"[" * 200_000, "is no JSON text"),
        (".json", b"{", "is no JSON text"),
        (".json", b"PK\x03\x04 a zip", "may hold one"),
        (".toml", b"= 1", "is no TOML text"),
        (".txt", b"\xff\xfe", "is no TXT text"),
        (".md", b"a\0b", "holds zero bytes"),
        (".bin", b"words", "has the suffix .bin, which is not loaded"),
    ],
)
def test_says_what_is_wrong(tmp_path: Path, suffix: str, content: bytes, fault: str) -> None:
    with pytest.raises(DataCorrupted, match=fault):
        check_content(write(tmp_path, suffix, content), label="it")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(suffix=st.sampled_from([".onnx", ".safetensors", ".json"]), content=st.binary(max_size=64))
def test_no_bytes_break_the_check(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = write(tmp_path, suffix, content)
    try:
        check_content(path, label="it")
    except DataCorrupted as error:
        assert error.reason == "CONTENT_REFUSED"


@pytest.mark.parametrize("location", ["../w", "/etc/passwd", "a/../../w", "C:\\w", "..\\w", "", "file:w"])
@pytest.mark.parametrize("deep", [False, True], ids=["initializer", "in a branch"])
def test_data_that_leave_the_folder_are_refused(tmp_path: Path, location: str, deep: bool) -> None:
    content = model(outside(location))
    if deep:
        value = helper.make_tensor_value_info("z", TensorProto.FLOAT, [4])
        inner = [helper.make_node("Constant", [], ["z"], value=outside(location))]
        branch = helper.make_graph(inner, "inner", [], [value])
        content = model(nodes=[helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)])
    with pytest.raises(DataCorrupted, match="not beside or below it"):
        check_content(write(tmp_path, ".onnx", content), label="it")


def test_data_beside_a_model_are_named(tmp_path: Path) -> None:
    path = write(tmp_path, ".onnx", model(outside("w.safetensors"), outside("parts/w2.safetensors")))
    check_content(path, label="it")
    assert outside_data(path) == ["parts/w2.safetensors", "w.safetensors"]
    assert outside_data(write(tmp_path, ".json", b"{}")) == []


def test_data_that_the_manifest_does_not_list_are_refused(workbench: Workbench) -> None:
    content = model(outside("w.safetensors"))
    folder = workbench.manifest("net", own_file("unet/model.onnx", content))
    (folder / "unet").mkdir()
    (folder / "unet/model.onnx").write_bytes(content)
    (folder / "unet/w.safetensors").write_bytes(SAFETENSORS)
    with pytest.raises(DataCorrupted, match=r"net/unet/model.onnx keeps data in w.safetensors"):
        workbench.repository().open("net")
    files = own_file("unet/model.onnx", content) + own_file("unet/w.safetensors", SAFETENSORS)
    workbench.manifest("net", files)
    workbench.repository().open("net")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(place=st.integers(0, len(onnx_bytes()) - 1), byte=st.integers(0, 255))
def test_a_flipped_byte_breaks_no_check(tmp_path: Path, place: int, byte: int) -> None:
    content = bytearray(model(outside("w.safetensors")))
    content[place % len(content)] = byte
    try:
        check_content(write(tmp_path, ".onnx", bytes(content)), label="it")
    except DataCorrupted as error:
        assert error.reason == "CONTENT_REFUSED"


def test_a_wrong_hash_names_the_file_and_the_way_out(tmp_path: Path) -> None:
    path = write(tmp_path, ".txt", b"words")
    check_hash(path, sha256(b"words"), label="it", mend="mend it")
    with pytest.raises(DataCorrupted, match=rf"it has sha256 {sha256(b'words')[:12]}.*{'a' * 12}.*; mend it"):
        check_hash(path, "a" * 64, label="it", mend="mend it")
