"""What an import loads, seen in a fresh process by name; no clock is read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {"numpy", "numba", "llvmlite", "scipy", "torch", "ray", "sqlalchemy", "alembic", "fsspec", "boto3", "botocore"}
HEAVY |= {"nltk", "rich", "typer", "uvloop", "httptools", "msgspec"}


def loaded(statements: str) -> set[str]:
    """The top-level modules that are there after some statements."""
    code = f"{statements}\nimport sys, json; print(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    answer = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert answer.returncode == 0, answer.stderr
    return set(json.loads(answer.stdout.splitlines()[-1]))


def test_the_package_loads_next_to_nothing() -> None:
    assert not loaded("import wildsage") & (HEAVY | {"pydantic", "pydantic_core"})


@pytest.mark.parametrize(
    "module",
    ["builtins", "channels", "content_types", "environment", "failure", "hyperparameters", "metrics", "resources"],
)
def test_the_contract_loads_no_numerics(module: str) -> None:
    assert not loaded(f"import wildsage.contract.{module}") & HEAVY


def test_the_first_line_of_a_job_waits_for_nothing() -> None:
    """Before "Starting training of …", pydantic is not loaded either."""
    assert not loaded("import wildsage.runtime.train") & (HEAVY | {"pydantic", "pydantic_core"})


def test_the_registry_loads_no_algorithm() -> None:
    assert not loaded("from wildsage.algorithms import registry; registry.names()") & HEAVY
