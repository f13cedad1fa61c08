from pathlib import Path

import pytest

from services.orchestrator.planning.profiles import ProfilesError, color_word, read_profiles


def write(folder: Path, text: str, name: str = "brands.toml") -> Path:
    (folder / name).write_text(text)
    return folder


def test_a_folder_holds_many(tmp_path: Path) -> None:
    write(tmp_path, '[acme]\npalette = ["#0b3d91"]\n[blank]\n')
    write(tmp_path, '[other]\nformat = "jpeg"\n', "more.toml")
    found = read_profiles(tmp_path)
    assert sorted(found) == ["acme", "blank", "other"] and found["acme"].palette == ("#0b3d91",)
    assert read_profiles(tmp_path / "more.toml").keys() == {"other"} and read_profiles(None) == {}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('[acme]\npalette = ["#0b3d91", "navy"]', "brands.toml: acme.palette[1]: is not a colour #rrggbb"),
        ('[acme]\nformat = "gif"', "brands.toml: acme.format: input should be 'png', 'jpeg', 'webp' or 'avif'"),
        ('[acme]\npallete = []', "brands.toml: acme.pallete: extra inputs are not permitted"),
        ('[acme.watermark]\nimage = "x.png"', "brands.toml: acme.watermark.image: x.png is not there"),
        ('[acme.watermark]\nimage = "x.png"\nwidth = 2', "brands.toml: acme.watermark.width: input should be"),
        ("acme = 1", "brands.toml: acme: is a value; write a table [acme]"),
        ('["a b"]', "brands.toml: a b.name:"),
        ("[acme", "brands.toml: "),
    ],
)  # fmt: skip
def test_every_fault_is_named_by_file_and_field(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(ProfilesError) as raised:
        read_profiles(write(tmp_path, text))
    assert fault in str(raised.value)


def test_all_faults_come_at_once(tmp_path: Path) -> None:
    write(tmp_path, '[a]\nformat = 1\nstyles = [""]\n[b]\npalette = "red"')
    with pytest.raises(ProfilesError) as raised:
        read_profiles(tmp_path)
    assert len(str(raised.value).splitlines()) == 3


def test_a_prompt_that_says_its_own_is_left_alone(tmp_path: Path) -> None:
    acme = read_profiles(write(tmp_path, '[acme]\npalette = ["#0b3d91"]\nstyles = ["flat"]'))["acme"]
    assert acme.prompt("a fox") == "a fox, flat style, in navy"
    assert acme.prompt("a red fox") == "a red fox, flat style"
    assert acme.prompt("a red fox in baroque style") == "a red fox in baroque style"


def test_colours_have_plain_names() -> None:
    assert [color_word(color) for color in ("#fefefe", "#000010", "#ff7700", "#0b3d91")] == [
        "white",
        "black",
        "orange",
        "navy",
    ]
