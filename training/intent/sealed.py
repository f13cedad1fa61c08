"""Writes the sha256 of a model folder's own files into its manifest, so that what was trained is what is loaded."""

import hashlib
import re
import tomllib
from pathlib import Path


def sealed(folder: Path) -> str:
    """Which head a folder holds, in words: name and version of its manifest, if it has one, and the head's sha256."""
    path = folder / "manifest.toml"
    manifest = tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    name = f"`{manifest.get('name', folder.name)}` {manifest.get('version', '(not shipped)')}"
    return f"{name}, sha256 of head.onnx {hashlib.sha256((folder / 'head.onnx').read_bytes()).hexdigest()[:16]}"


def seal(folder: Path) -> None:
    """Renews the sha256 of every file of manifest.toml whose source is the repository.

    Raises FileNotFoundError for a file that the manifest names and the folder lacks.
    """
    path = folder / "manifest.toml"
    if not path.exists():
        return  # a trial folder, not the one that is shipped
    text = path.read_text(encoding="utf-8")

    def renewed(match: re.Match[str]) -> str:
        digest = hashlib.sha256((folder / match["name"]).read_bytes()).hexdigest()
        return f"{match['head']}{digest}{match['tail']}"

    entry = re.compile(
        r'(?P<head>path = "(?P<name>[^"]+)"\nsha256 = ")[0-9a-f]{64}(?P<tail>"\nsource = \{ type = "repository" \})'
    )
    path.write_text(entry.sub(renewed, text), encoding="utf-8")
