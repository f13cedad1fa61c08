"""Writes the sha256 of a model folder's own files into its manifest, so that what was trained is what is loaded."""

import hashlib
import re
from pathlib import Path


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
