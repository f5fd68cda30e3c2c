"""Reference data of the format tests."""

import json
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parents[3] / "tests" / "data"


def load_vectors(name: str) -> Any:
    """One file of ``tests/data/vectors``."""
    return json.loads((DATA / "vectors" / f"{name}.json").read_text())


@pytest.fixture(scope="session")
def vectors() -> Any:
    """Loader of vector files by name."""
    return load_vectors
