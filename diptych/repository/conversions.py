"""Package members made into one model file."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from diptych.errors import DataCorrupted
from diptych.repository.manifest import (
    AttentionConversion,
    Conversion,
    FfdnetConversion,
    JoinConversion,
    Member,
    TfjsConversion,
)


def convert(conversion: Conversion, members: Sequence[Member], files: Mapping[str, Path], target: Path) -> None:
    """Writes `target` from the members' files; DataCorrupted if they are not what the conversion wants."""
    # What is imported here needs the onnx package; listing and verifying models does without.
    if isinstance(conversion, JoinConversion):
        _join(conversion.resource, members, files, target)
        if conversion.lean is not None:
            from diptych.repository.lean import write_lean

            write_lean(target, conversion.lean, target)
        return
    if isinstance(conversion, TfjsConversion):
        from diptych.repository import tfjs

        graph, *shards = members
        named = {PurePosixPath(member.path).name: files[member.path] for member in shards}
        tfjs.write_onnx(files[graph.path], named, conversion.outputs, target)
        return
    if isinstance(conversion, FfdnetConversion):
        from diptych.repository import ffdnet

        ffdnet.write_onnx(files[members[0].path], target)
        return
    if isinstance(conversion, AttentionConversion):
        from diptych.repository import attention

        in_int8 = conversion.products == "int8"
        attention.write_fused(files[members[0].path], conversion.heads, target, in_int8=in_int8)
        return
    from diptych.repository import ncnn

    by_suffix = {PurePosixPath(member.path).suffix: files[member.path] for member in members}
    ncnn.write_onnx(by_suffix[".param"], by_suffix[".bin"], target)


def _join(resource: str, members: Sequence[Member], files: Mapping[str, Path], target: Path) -> None:
    """Writes the chunks in the order of the index `{resource: {size, chunks: [{hash, offsets: [from, to]}]}}`."""
    index, *chunk_members = members
    chunks = {PurePosixPath(member.path).name: files[member.path] for member in chunk_members}
    try:
        entry: dict[str, Any] = json.loads(files[index.path].read_text(encoding="utf-8"))[resource]
        parts = [(str(part["hash"]), int(part["offsets"][0]), int(part["offsets"][1])) for part in entry["chunks"]]
        size = int(entry["size"])
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise DataCorrupted(f"{index.path} lists no chunks for {resource}", reason="INDEX_UNREADABLE") from error
    with target.open("wb") as joined:
        for name, start, end in parts:
            chunk = chunks.get(name)
            if chunk is None:
                raise DataCorrupted(f"chunk {name} of {resource} is not among the members", reason="MEMBER_MISSING")
            content = chunk.read_bytes()
            if start != joined.tell() or len(content) != end - start:
                raise DataCorrupted(
                    f"chunk {name} of {resource} does not fit its place in the index", reason="INDEX_UNREADABLE"
                )
            joined.write(content)
        if joined.tell() != size:
            raise DataCorrupted(
                f"{resource} has {joined.tell()} bytes; the index says {size}", reason="INDEX_UNREADABLE"
            )
