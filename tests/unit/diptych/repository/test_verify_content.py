import pickle
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diptych.errors import DataCorrupted
from diptych.repository.verify import check_content, check_hash

from .conftest import onnx_bytes, sha256

SAFETENSORS = len(b'{"a":{}}').to_bytes(8, "little") + b'{"a":{}}' + b"\1\2\3"
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


def test_a_wrong_hash_names_the_file_and_the_way_out(tmp_path: Path) -> None:
    path = write(tmp_path, ".txt", b"words")
    check_hash(path, sha256(b"words"), label="it", mend="mend it")
    with pytest.raises(DataCorrupted, match=rf"it has sha256 {sha256(b'words')[:12]}.*{'a' * 12}.*; mend it"):
        check_hash(path, "a" * 64, label="it", mend="mend it")
