"""Lists longer than a page, from records alone: nothing runs behind them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.conftest import Call
from wildsage.cli import names
from wildsage.platform.names import Kind
from wildsage.platform.service import Platform
from wildsage.platform.states import Status

COUNT = 203


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """More jobs, models and endpoints than two pages hold."""
    folder = tmp_path_factory.mktemp("home") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WILDSAGE_HOME", str(folder))
        with Platform(folder) as platform:
            context = platform._context
            job = {"AlgorithmSpecification": {}, "StoppingCondition": {}}
            ended = {"marks": [["Starting", 1.0], ["Completed", 2.0]], "model": "/model.tar.gz"}
            variant = {"VariantName": "v", "InitialVariantWeight": 1.0, "InitialInstanceCount": 1, "ModelName": "m"}
            endpoint = {"EndpointConfigName": "c", "ProductionVariant": variant, "Model": {"image": None}}
            for number in range(COUNT):
                for kind, status, request in (
                    (Kind.TRAINING_JOB, Status.COMPLETED, job),
                    (Kind.MODEL, Status.NONE, {"PrimaryContainer": {"ModelDataUrl": "/model.tar.gz"}}),
                    (Kind.ENDPOINT, Status.FAILED, endpoint),
                ):
                    record = context.new_record(kind, f"{kind.words.replace(' ', '-')}-{number}", status, request)
                    state = ended if kind is Kind.TRAINING_JOB else {}
                    created = time.time() - number
                    context.store.insert(replace(record, state=state, created_at=created), {})
        yield folder


def test_models_and_endpoints_are_told_in_full(call: Call, home: Path) -> None:
    models = call("models", "--json").json
    assert {each["Name"] for each in models if each["Kind"] == "model"} == {f"model-{i}" for i in range(COUNT)}
    assert {each["Name"] for each in models if each["Kind"] == "job"} == {f"training-job-{i}" for i in range(COUNT)}
    assert len(call("endpoints").out.splitlines()) == COUNT


def test_jobs_say_that_there_are_more(call: Call, home: Path) -> None:
    newest = call("jobs", "--json")
    assert [each["TrainingJobName"] for each in newest.json] == [f"training-job-{i}" for i in range(20)]
    assert newest.err == "These are the newest 20; all: wildsage jobs --limit 0\n"
    assert len(call("jobs", "--limit", "150").out.splitlines()) == 150
    everything = call("jobs", "--limit", "0")
    assert (len(everything.out.splitlines()), everything.err) == (COUNT, "")
    exactly = call("jobs", "--limit", str(COUNT))
    assert (len(exactly.out.splitlines()), exactly.err) == (COUNT, "")


def test_every_name_is_completed(home: Path) -> None:
    assert names.job("training-job-202") == ["training-job-202"]
    assert len(names.anything("")) == 3 * COUNT
