"""One stack of real services with real models for all system tests that leave it whole."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from stack import Stack


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.system)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    services = Stack(tmp_path_factory.mktemp("stack"))
    services.start()
    yield services
    codes = services.stop()
    assert set(codes.values()) == {0}, codes
