"""The contract and its committed stubs."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor, FileDescriptor

from diptych.v1 import editor_pb2, generator_pb2, image_pb2, model_pb2, orchestrator_pb2

ROOT = Path(__file__).resolve().parents[2]
FILES: list[FileDescriptor] = [
    module.DESCRIPTOR for module in (image_pb2, model_pb2, generator_pb2, editor_pb2, orchestrator_pb2)
]
EDITOR_OPERATIONS = [
    "remove_background",
    "replace_background",
    "blur_background",
    "enhance",
    "denoise",
    "deblur",
    "upscale",
    "color_correct",
    "retouch",
    "remove_object",
    "replace_object",
    "add_object",
    "style_transfer",
    "match_style",
    "crop",
    "resize",
    "extend",
    "rotate",
    "composite",
    "analyze",
    "write_text",
]


def test_stubs_are_what_the_protos_generate(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "protos/generate.py", "--out", tmp_path], check=True)
    folders = ("diptych/v1", "diptych/inference")
    fresh = {name: (tmp_path / name).read_bytes() for name in _stubs(tmp_path, folders)}
    committed = {name: (ROOT / name).read_bytes() for name in _stubs(ROOT, folders)}
    assert fresh.keys() == committed.keys()
    stale = [name for name in fresh if fresh[name] != committed[name]]
    assert not stale, f"run `make protos`: {stale}"


def _stubs(root: Path, folders: Sequence[str]) -> list[str]:
    found = [path for folder in folders for path in (root / folder).glob("*_pb2*") if path.suffix != ".pyc"]
    return sorted(str(path.relative_to(root)) for path in found)


def test_every_operation_of_the_design_has_its_message() -> None:
    oneof = editor_pb2.Operation.DESCRIPTOR.oneofs_by_name["operation"]
    assert [field.name for field in oneof.fields] == EDITOR_OPERATIONS


@pytest.mark.parametrize(
    "enum", [enum for file in FILES for enum in file.enum_types_by_name.values()], ids=lambda enum: enum.name
)
def test_enum_zero_is_unspecified(enum: EnumDescriptor) -> None:
    assert enum.values_by_number[0].name.endswith("_UNSPECIFIED")


def test_each_rpc_has_its_own_request_and_response() -> None:
    methods = [m for file in FILES for service in file.services_by_name.values() for m in service.methods]
    assert len(methods) >= 22
    messages = [message for m in methods for message in (m.input_type.full_name, m.output_type.full_name)]
    assert len(messages) == len(set(messages))
    for method in methods:
        assert method.input_type.name == f"{method.name}Request"
        assert method.output_type.name == f"{method.name}Response"


def test_tunable_numbers_tell_unset_from_zero() -> None:
    """A field whose default is not the type's zero must be `optional`, or 0 could not be asked for."""
    numbers = {FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64}
    spec = generator_pb2.GenerationSpec.DESCRIPTOR
    tunables = [field for field in spec.fields if field.cpp_type in numbers]
    assert tunables
    assert all(field.has_presence for field in tunables)
