"""ARCHITECTURE.md names every module, in the module's own words."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_fresh() -> None:
    spec = importlib.util.spec_from_file_location("modules", ROOT / "docs/modules.py")
    assert spec is not None
    assert spec.loader is not None
    modules = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(modules)
    assert modules.PAGE.read_text().endswith(modules.chapter()), "run: python docs/modules.py"
