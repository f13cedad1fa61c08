"""Writes the last chapter of ARCHITECTURE.md, every module in one line, from the modules' own first lines.

python docs/modules.py
"""

import ast
import subprocess
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "ARCHITECTURE.md"
CHAPTER = "## Every module in one line\n"
PLACES = ("diptych", "services", "training", "benchmarks", "demo", "protos", "docs")


def first_line(path: Path) -> str:
    """The first paragraph of a module's docstring, on one line."""
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    return text.split("\n\n")[0].replace("\n", " ").replace("|", "\\|")


def chapter() -> str:
    """The chapter, by folder."""
    tracked = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, check=True, capture_output=True, text=True)
    folders: dict[Path, list[Path]] = defaultdict(list)
    for path in map(Path, tracked.stdout.split()):
        if path.parts[0] in PLACES and "_pb2" not in path.name:
            folders[path.parent].append(path)
    parts = [CHAPTER]
    for folder in sorted(folders, key=lambda each: (PLACES.index(each.parts[0]), each)):
        about = [first_line(ROOT / path) for path in folders[folder] if path.name == "__init__.py"]
        parts.append("\n".join([f"### `{folder}/`", *about]))
        rows = [
            f"| `{path.name}` | {first_line(ROOT / path)} |"
            for path in sorted(folders[folder])
            if path.stem != "__init__"
        ]
        if rows:
            parts.append("\n".join(["| module | |", "| --- | --- |", *rows]))
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(PAGE.read_text().split(CHAPTER)[0] + chapter())
