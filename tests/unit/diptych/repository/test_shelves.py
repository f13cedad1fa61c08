"""Versions, defaults and aliases, and what is told when they are wrong."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diptych.errors import FailedPrecondition, ModelNotFound
from diptych.repository.shelves import Shelves, _age

HEAD = 'kind = "EDITING"\ntask = "upscale"\nlicense = "MIT"\norigin = "a test"\ndescription = "A toy."\n'


def put(root: Path, folder: str, name: str, version: str) -> None:
    (root / folder).mkdir(parents=True)
    (root / folder / "manifest.toml").write_text(f'name = "{name}"\nversion = "{version}"\n{HEAD}')


def versions(root: Path, name: str) -> list[str]:
    return [shelved.manifest.version for shelved in Shelves([root]).all() if shelved.manifest.name == name]


def test_one_version_in_the_models_folder_others_below_it(tmp_path: Path) -> None:
    put(tmp_path, "net", "net", "1.0")
    put(tmp_path, "net/1.2", "net", "1.2")
    put(tmp_path, "net/1.10", "net", "1.10")
    put(tmp_path, ".partial-1/other", "other", "1")
    assert versions(tmp_path, "net") == ["1.0", "1.2", "1.10"]
    assert [shelved.manifest.version for shelved in Shelves([tmp_path]).all()] == ["1.0", "1.2", "1.10"]
    shelves = Shelves([tmp_path])
    assert shelves.find("net").manifest.version == "1.10"
    assert shelves.find("net@1.2").folder == tmp_path / "net/1.2"
    assert shelves.find("net@1.0").folder == tmp_path / "net"


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("1.9", "1.10"),
        ("1", "1.1"),
        ("2.0-rc1", "2.0"),
        ("2.0-alpha", "2.0-rc1"),
        ("2.0-rc2", "2.0-rc10"),
        ("1.0", "2"),
    ],
)
def test_versions_are_read_as_people_read_them(older: str, newer: str) -> None:
    assert sorted([newer, older], key=_age) == [older, newer]


@given(st.lists(st.from_regex(r"[0-9A-Za-z][0-9A-Za-z.+-]*", fullmatch=True), unique=True))
def test_any_versions_have_one_order(texts: list[str]) -> None:
    assert sorted(texts, key=_age) == sorted(reversed(texts), key=_age)


def test_an_earlier_root_wins_and_others_versions_stay_reachable(tmp_path: Path) -> None:
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    put(mine, "net", "net", "1")
    put(theirs, "net/1", "net", "1")
    put(theirs, "net/2", "net", "2")
    shelves = Shelves([mine, theirs])
    assert shelves.find("net").folder == mine / "net"
    assert shelves.find("net@2").folder == theirs / "net/2"
    (theirs / "repository.toml").write_text('[default_versions]\nnet = "2"\n[aliases]\nfine = "net"\n')
    assert shelves.find("net").manifest.version == "2"
    (mine / "repository.toml").write_text('[default_versions]\nnet = "1"\n[aliases]\nfine = "net@2"\n')
    assert shelves.find("net").manifest.version == "1"
    assert shelves.find("fine").manifest.version == "2"
    assert shelves.find("fine@1").manifest.version == "1"


def test_an_alias_does_not_hide_a_model(tmp_path: Path) -> None:
    put(tmp_path, "net", "net", "1")
    put(tmp_path, "other", "other", "7")
    (tmp_path / "repository.toml").write_text('[aliases]\nother = "net"\n')
    assert Shelves([tmp_path]).find("other").manifest.version == "7"
    assert Shelves([tmp_path]).aliases() == {}


def test_what_is_not_there_is_told_with_what_is(tmp_path: Path) -> None:
    put(tmp_path, "net/1", "net", "1")
    put(tmp_path, "net/2", "net", "2")
    (tmp_path / "repository.toml").write_text('[aliases]\nfine = "net"\n')
    versions = "net@1, net@2"
    for reference, expected in (("net@9", versions), ("nothing", "net"), ("fine@9", versions)):
        with pytest.raises(ModelNotFound, match=f"available: {expected}"):
            Shelves([tmp_path]).find(reference)


def test_settings_that_point_at_nothing_are_told_and_hide_nothing_else(tmp_path: Path) -> None:
    put(tmp_path, "net/1", "net", "1")
    put(tmp_path, "other", "other", "1")
    settings = '[default_versions]\nother = "3"\n[aliases]\nlost = "gone"\nold = "net@0"\nfine = "net"\n'
    (tmp_path / "repository.toml").write_text(settings)
    shelves = Shelves([tmp_path])
    for reference, fault in (
        ("lost", r"repository\.toml: aliases\.lost: is 'gone'"),
        ("old", r"repository\.toml: aliases\.old: is 'net@0'; .*available: net@1"),
        ("other", r"repository\.toml: default_versions\.other: is '3'; there are 1"),
    ):
        with pytest.raises(FailedPrecondition, match=fault):
            shelves.find(reference)
    assert shelves.find("fine").manifest.version == "1"
    assert shelves.aliases() == {"fine": "net"}


def test_every_fault_of_the_settings_is_told_by_its_key(tmp_path: Path) -> None:
    put(tmp_path, "net", "net", "1")
    (tmp_path / "repository.toml").write_text(
        'colour = "red"\n[default_versions]\nnet = 3\n[aliases]\n"Big Name" = "net"\nfine = "a b"\n'
    )
    with pytest.raises(FailedPrecondition) as error:
        Shelves([tmp_path]).find("net")
    faults = error.value.message.splitlines()
    assert len(faults) == 4
    for key in ("colour: is no key", "default_versions.net:", "aliases.Big Name", "aliases.fine:"):
        assert any(fault.startswith(f"repository.toml: {key}") for fault in faults), (key, faults)
    (tmp_path / "repository.toml").write_text("= 3")
    with pytest.raises(FailedPrecondition, match=r"repository\.toml: is not TOML"):
        Shelves([tmp_path]).find("net")


@pytest.mark.parametrize(
    ("folder", "name", "version", "fault"),
    [
        ("net", "nett", "1", "name: is 'nett' in the folder 'net'"),
        ("net/1", "net", "2", "version: is '2' in the folder '1'"),
        ("net/1", "nett", "1", "name: is 'nett' in the folder '1'"),
        ("net/other", "other", "1", "name: is 'other' in the folder 'net'"),
    ],
)
def test_a_manifest_in_the_wrong_folder_is_told(
    tmp_path: Path, folder: str, name: str, version: str, fault: str
) -> None:
    put(tmp_path, folder, name, version)
    (told,) = Shelves([tmp_path]).faults()
    assert fault in told.message
    assert told.reason == "MANIFEST_INVALID"
    with pytest.raises(FailedPrecondition, match=fault):
        Shelves([tmp_path]).find(folder.partition("/")[0])


def test_a_manifest_at_fault_hides_its_own_version_alone(tmp_path: Path) -> None:
    put(tmp_path, "net/1", "net", "1")
    put(tmp_path, "net/2", "net", "2")
    put(tmp_path, "other", "other", "1")
    (tmp_path / "net/2/manifest.toml").write_text("")
    shelves = Shelves([tmp_path])
    assert [(one.manifest.name, one.manifest.version) for one in shelves.all()] == [("net", "1"), ("other", "1")]
    assert shelves.find("net").manifest.version == "1"
    with pytest.raises(FailedPrecondition, match=r"2/manifest\.toml: version: is missing"):
        shelves.find("net@2")
