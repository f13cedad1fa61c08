import json
from pathlib import Path

import pytest

from diptych.errors import DataCorrupted
from diptych.repository.conversions import convert
from diptych.repository.manifest import JoinConversion, Member

CHUNKS = {"c1": b"first ", "c2": b"second"}
INDEX = {
    "/models/small": {
        "size": 12,
        "chunks": [{"hash": "c1", "offsets": [0, 6]}, {"hash": "c2", "offsets": [6, 12]}],
    }
}
JOIN = JoinConversion(type="join", resource="/models/small")


def join(folder: Path, index: object, chunks: dict[str, bytes]) -> bytes:
    """The joined file; the members are listed in another order than the index's."""
    (folder / "index").write_text(json.dumps(index))
    files = {"package/index.json": folder / "index"}
    for name, content in chunks.items():
        files[f"package/{name}"] = folder / name
        (folder / name).write_bytes(content)
    members = [Member(path=path) for path in [next(iter(files)), *list(files)[:0:-1]]]
    convert(JOIN, members, files, folder / "joined")
    return (folder / "joined").read_bytes()


def test_joins_in_the_order_of_the_index(tmp_path: Path) -> None:
    assert join(tmp_path, INDEX, CHUNKS) == b"first second"


@pytest.mark.parametrize(
    ("index", "chunks", "fault"),
    [
        ({}, CHUNKS, "lists no chunks for /models/small"),
        ([], CHUNKS, "lists no chunks"),
        ({"/models/small": {"size": 12, "chunks": [{"hash": "c1"}]}}, CHUNKS, "lists no chunks"),
        (INDEX, {"c1": b"first "}, "chunk c2 of /models/small is not among the members"),
        (INDEX, CHUNKS | {"c1": b"longer than"}, "chunk c1 of /models/small does not fit"),
        ({"/models/small": INDEX["/models/small"] | {"size": 13}}, CHUNKS, "has 12 bytes; the index says 13"),
    ],
)
def test_says_what_does_not_fit(tmp_path: Path, index: object, chunks: dict[str, bytes], fault: str) -> None:
    with pytest.raises(DataCorrupted, match=fault):
        join(tmp_path, index, chunks)
