"""Laws that every registered algorithm keeps."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from tests.laws.samples import SAMPLES, Sample
from wildsage.algorithms import registry
from wildsage.algorithms.base import Algorithm, Model
from wildsage.contract.builtins import table
from wildsage.contract.channels import Channel, write_channels
from wildsage.contract.errors import ClientError
from wildsage.contract.hyperparameters import HyperparameterFact, write_hyperparameters
from wildsage.contract.layout import Layout
from wildsage.contract.metrics import read_metrics
from wildsage.contract.resources import Resources
from wildsage.runtime import train
from wildsage.runtime.report import JobReporter


@pytest.fixture(params=sorted(SAMPLES))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def sample(name: str) -> Sample:
    return SAMPLES[name]()


@pytest.fixture
def algorithm(name: str) -> Algorithm[Any]:
    return registry.get(name)()


def lay_out(base: Path, sample: Sample, **changes: str) -> Layout:
    layout = Layout(base)
    layout.create()
    write_hyperparameters(layout.hyperparameters, {**sample.hyperparameters, **changes})
    for channel, files in sample.channels.items():
        layout.channel(channel).mkdir(parents=True)
        for file, text in files.items():
            (layout.channel(channel) / file).write_text(text, "utf-8")
    write_channels(layout, [Channel(channel, layout.channel(channel)) for channel in sample.channels])
    return layout


@contextlib.contextmanager
def job(algorithm: Algorithm[Any], layout: Layout) -> Iterator[Any]:
    """The context of a job of one thread, in which equal seeds give equal models."""
    hyperparameters, channels = train.check(algorithm, layout, None)
    reporter = JobReporter(layout)
    context = train.make_context(hyperparameters, channels, layout, Resources(), reporter, Event())
    try:
        yield context
    finally:
        reporter.close()


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def fit(algorithm: Algorithm[Any], layout: Layout) -> Model:
    with job(algorithm, layout) as context:
        return algorithm.train(context)


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def ask(model: Model, sample: Sample) -> str:
    """The answers as JSON: whatever a model answers, JSON can hold it."""
    answers = model.predict(list(sample.instances), [{} for _ in sample.instances])
    assert len(answers) == len(sample.instances)
    return json.dumps(answers, allow_nan=False)


def test_every_algorithm_of_ours_has_a_sample() -> None:
    ours = {name for name in registry.names() if registry.get(name).__module__.startswith("wildsage.")}
    assert ours == set(SAMPLES)


def test_it_has_its_own_name(algorithm: Algorithm[Any], name: str) -> None:
    assert algorithm.name == name


def test_one_seed_one_model(algorithm: Algorithm[Any], sample: Sample, tmp_path: Path) -> None:
    saved = []
    for run in ("first", "second"):
        folder = tmp_path / run / "model"
        folder.mkdir(parents=True)
        fit(algorithm, lay_out(tmp_path / run / "ml", sample)).save(folder)
        saved.append(files_of(folder))
    assert saved[0]
    assert saved[0] == saved[1]


def test_save_load_and_predict_agree(algorithm: Algorithm[Any], sample: Sample, name: str, tmp_path: Path) -> None:
    model = fit(algorithm, lay_out(tmp_path / "ml", sample))
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    model.save(first)
    assert registry.recognise(first) == name
    loaded = algorithm.model.load(first)
    loaded.warm_up()
    assert ask(loaded, sample) == ask(model, sample)
    loaded.save(second)
    assert files_of(first) == files_of(second)
    assert loaded.predict([], []) == []


def test_an_answer_does_not_depend_on_its_neighbours(algorithm: Algorithm[Any], sample: Sample, tmp_path: Path) -> None:
    model = fit(algorithm, lay_out(tmp_path / "ml", sample))
    together = model.predict(list(sample.instances), [{} for _ in sample.instances])
    assert [model.predict([instance], [{}])[0] for instance in sample.instances] == together


def test_a_folder_that_holds_no_model_is_refused(algorithm: Algorithm[Any], tmp_path: Path) -> None:
    assert not algorithm.model.recognises(tmp_path)
    with pytest.raises(ClientError):
        algorithm.model.load(tmp_path)


def test_a_wrong_hyperparameter_is_named(algorithm: Algorithm[Any], sample: Sample) -> None:
    with pytest.raises(ClientError) as caught:
        algorithm.hyperparameters.parse({**sample.hyperparameters, **sample.wrong})
    told = str(caught.value).splitlines()
    assert {line.split(" ", 1)[0] for line in told} == set(sample.wrong)
    assert all(" is not allowed: " in line for line in told)


def test_a_hyperparameter_that_there_is_not_is_named(algorithm: Algorithm[Any], sample: Sample) -> None:
    with pytest.raises(ClientError, match="no_such_thing is not a hyperparameter"):
        algorithm.hyperparameters.parse({**sample.hyperparameters, "no_such_thing": "1"})


def test_the_table_says_what_the_model_says(algorithm: Algorithm[Any], name: str) -> None:
    def what_counts(fact: HyperparameterFact) -> dict[str, Any]:
        row = fact.to_json()
        kept = ("type", "required", "default", "minimum", "maximum", "minimum_inclusive", "maximum_inclusive")
        counted = {key: row.get(key) for key in (*kept, "beyond_contract")}
        # What a machine word ends is no range of the contract's.
        if (counted["maximum"] or 0) >= 2**31 - 1:
            counted["maximum"] = None
        return counted | {key: sorted(map(str, row.get(key, []))) for key in ("choices", "special_values")}

    facts = table(name)
    published = {fact.name: what_counts(fact) for fact in facts.hyperparameters}
    ours = {fact.name: what_counts(fact) for fact in algorithm.hyperparameters.describe()}
    # What the service's image takes beside what it documents, an algorithm may take, too.
    more = {fact.name: what_counts(fact) for fact in facts.container_only_hyperparameters if fact.name in ours}
    assert ours == more | published
    assert all(fact.meaning for fact in algorithm.hyperparameters.describe())


def test_its_channels_are_those_of_the_table(algorithm: Algorithm[Any], name: str) -> None:
    required = {channel.name for channel in table(name).channels if channel.required}
    assert set(algorithm.required_channels) == required
    assert set(algorithm.optional_channels) == {channel.name for channel in table(name).channels} - required


def test_its_request_types_are_those_of_the_table(algorithm: Algorithm[Any], name: str) -> None:
    assert set(table(name).request_types) <= set(algorithm.model.request_types)


def test_memory_is_bounded_before_anything_is_read(algorithm: Algorithm[Any], sample: Sample, tmp_path: Path) -> None:
    with job(algorithm, lay_out(tmp_path, sample)) as context:
        estimate = algorithm.estimate_memory(context)
    assert estimate.peak_bytes > 0
    assert estimate.advice


class StopAtFirstMetric(JobReporter):
    """Stands for a SIGTERM after the first epoch."""

    def __init__(self, layout: Layout) -> None:
        super().__init__(layout)
        self.stop = Event()

    def metric(self, name: str, value: float, *, epoch: int | None = None) -> None:
        super().metric(name, value, epoch=epoch)
        self.stop.set()

    def metrics(self, values: Mapping[str, float], *, epoch: int, line: str) -> None:
        super().metrics(values, epoch=epoch, line=line)
        self.stop.set()


def test_a_stop_leaves_a_model_and_a_checkpoint_that_ends_alike(
    algorithm: Algorithm[Any], sample: Sample, tmp_path: Path
) -> None:
    layout = lay_out(tmp_path / "stopped", sample)
    reporter = StopAtFirstMetric(layout)
    with contextlib.closing(reporter), job(algorithm, layout) as context:
        stopped = algorithm.train(dataclasses.replace(context, report=reporter, stop=reporter.stop))
    ask(stopped, sample)
    assert len({record.epoch for record in read_metrics(layout.metrics)}) == 1
    assert any(layout.checkpoints.iterdir())

    folders = [tmp_path / "resumed model", tmp_path / "whole model"]
    for folder, base in zip(folders, (layout, lay_out(tmp_path / "whole", sample)), strict=True):
        folder.mkdir()
        fit(algorithm, base).save(folder)
    assert files_of(folders[0]) == files_of(folders[1])
