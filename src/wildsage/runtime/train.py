"""`python -m wildsage.runtime.train --algorithm NAME`: read the contract, check, train, save.

Only what the first line needs is imported up here: a user who starts a job sees at once that it runs.
"""

from __future__ import annotations

import argparse
import faulthandler
import logging
import os
import shutil
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from threading import Event
from typing import TYPE_CHECKING, Any

from wildsage.contract.log import configure
from wildsage.runtime import blas

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from wildsage.algorithms.base import Algorithm, Model
    from wildsage.algorithms.context import TrainingContext
    from wildsage.contract.builtins import BuiltIn
    from wildsage.contract.channels import Channel
    from wildsage.contract.hyperparameters import Hyperparameters
    from wildsage.contract.layout import Layout
    from wildsage.contract.resources import Resources
    from wildsage.runtime.report import JobReporter

log = logging.getLogger(__name__)

# Instance types with a GPU; on a machine that has one, "local" asks for the processor all the same.
GPU_INSTANCES = ("local_gpu", "ml.p", "ml.g")
BLOCK_BYTES = 512  # of st_blocks, whatever the file system's own are
HOLES_BYTES, NEARLY_ALL = 1 << 20, 0.9  # what holes are worth a word


def main(argv: Sequence[str] | None = None) -> int:
    """Run one training job and return its exit code. The only place where an error becomes one."""
    parser = argparse.ArgumentParser(prog="python -m wildsage.runtime.train", description="Run one training job.")
    parser.add_argument("--algorithm", required=True, metavar="NAME", help="an algorithm's name or alias")
    name = parser.parse_args(argv).algorithm
    configure(sys.stdout)
    blas.prepare()
    log.info("Starting training of %s", name)
    # A crash in native code leaves at least a traceback.
    faulthandler.enable()

    from wildsage.contract.layout import Layout
    from wildsage.runtime.signals import stop_on_signal

    stop = Event()
    with stop_on_signal(stop):
        return run(name, Layout.from_environment(), stop)


def run(name: str, layout: Layout, stop: Event) -> int:
    """Train `name` below a base folder; leave a success or a failure file and return the exit code."""
    from wildsage.contract.errors import AlgorithmError, ClientError
    from wildsage.contract.failure import EXIT_FAILURE, EXIT_OK, classify, failure_text, write_failure, write_success

    try:
        for stale in (layout.failure, layout.success, layout.pictures):
            stale.unlink(missing_ok=True)
        train(name, layout, stop)
        write_success(layout.success)
        return EXIT_OK
    except (Exception, SystemExit) as error:  # an algorithm that calls exit has failed, too
        # A user knows the file as train/part-3.csv; where this job keeps it is of no use.
        reason = failure_text(error).replace(f"{layout.input / 'data'}/", "")
        if stop.is_set() and isinstance(error, ClientError):
            # Stopped too soon for a model: what was asked for has happened.
            log.info("Stopped without a model: %s", error)
            return EXIT_OK
        if isinstance(classify(error), AlgorithmError):
            log.exception("%s", reason)
        else:
            # Who can mend the cause is told it in one line, without our traceback.
            log.error("%s", reason)
        try:
            write_failure(layout.failure, reason)
        except OSError as problem:
            log.error("The failure file could not be written: %s", problem)
        return EXIT_FAILURE


def train(name: str, layout: Layout, stop: Event) -> None:
    """Check everything, then train and save. Raises ClientError that names all that is wrong with the job."""
    from wildsage.algorithms.registry import get
    from wildsage.contract.builtins import names, resolve, table
    from wildsage.contract.files import is_beside_name
    from wildsage.contract.resources import read_resources
    from wildsage.runtime.report import JobReporter, duration

    watch = Stopwatch()
    layout.create()
    resources = read_resources(layout.resource_config)
    algorithm = get(name)()
    canonical = resolve(name)
    facts = table(canonical) if canonical in names() else None
    hyperparameters, channels = check(algorithm, layout, facts)
    # What a writer that was killed left there is no checkpoint.
    fresh = all(is_beside_name(path.name) for path in layout.checkpoints.iterdir())
    if stop.is_set() and fresh:
        log.info("Stopped before training began: there is no model")
        return
    if fresh:
        # The metrics of a run that left no checkpoint would be told twice.
        layout.metrics.unlink(missing_ok=True)
    with ExitStack() as stack:
        report = JobReporter(layout, table=facts, host=resources.current_host)
        stack.callback(report.close)
        context = make_context(hyperparameters, channels, layout, resources, report, stop)
        check_memory(algorithm, context)
        watch.lap("start")
        model = algorithm.train(context)
        watch.lap("fit")
        files, total, taken = save(model, layout.model)
        watch.lap("save")
        report.summary(seconds={"start": watch.laps["start"], "save": watch.laps["save"], "total": watch.total()})
    state = "Stopped" if stop.is_set() else "Completed"
    saved = f"{files} file{'' if files == 1 else 's'}, {_size(total)}"
    if total > HOLES_BYTES and taken < NEARLY_ALL * total:
        saved += f" with holes in them, which take {_size(taken)} of disk"
    took = f"{duration(watch.total())}, peak memory {_size(_peak_memory())}"
    log.info("%s after %s; the model is saved: %s", state, took, saved)


def check(
    algorithm: Algorithm[Any], layout: Layout, facts: BuiltIn | None
) -> tuple[Hyperparameters, dict[str, Channel]]:
    """Read and check hyperparameters and channels. Raises ClientError that names all that is wrong, one a line."""
    from wildsage.contract.channels import channel_problems, read_channels
    from wildsage.contract.errors import ClientError
    from wildsage.contract.hyperparameters import read_hyperparameters

    problems: list[str] = []
    hyperparameters = None
    try:
        hyperparameters = algorithm.hyperparameters.parse(read_hyperparameters(layout.hyperparameters))
    except ClientError as error:
        problems.append(str(error))
    channels: dict[str, Channel] = {}
    try:
        channels = read_channels(layout)
        problems += channel_problems(channels, algorithm.required_channels, algorithm.optional_channels)
        problems += mode_problems(channels, facts)
    except ClientError as error:
        problems.append(str(error))
    if problems or hyperparameters is None:
        raise ClientError("\n".join(problems))
    log.info("Final configuration: %s", hyperparameters.model_dump_json(exclude_none=True))
    for channel in channels.values():
        files = channel.files()
        total = sum(path.stat().st_size for path in files)
        what = f"{len(files)} file{'' if len(files) == 1 else 's'}, {_size(total)}"
        log.info("Channel %s: %s", channel.name, what if files else f"{channel.input_mode} mode")
    return hyperparameters, channels


def mode_problems(channels: dict[str, Channel], facts: BuiltIn | None) -> list[str]:
    """What a built-in's channels cannot be read as."""
    problems = []
    for channel in channels.values():
        allowed = facts.input_modes(channel.name) if facts is not None else ()
        if allowed and channel.input_mode not in allowed:
            modes = ", ".join(allowed)
            problems.append(f'channel "{channel.name}": input mode {channel.input_mode} is not allowed: {modes}')
    return problems


def make_context(
    hyperparameters: Hyperparameters,
    channels: dict[str, Channel],
    layout: Layout,
    resources: Resources,
    report: JobReporter,
    stop: Event,
) -> TrainingContext[Any]:
    """What the algorithm sees of the world."""
    from wildsage.algorithms.context import TrainingContext
    from wildsage.contract import machine

    kind = resources.current_instance_type
    wants_gpu = kind is None or kind.startswith(GPU_INSTANCES)
    has_gpu = machine.gpus() > 0
    if kind is not None and wants_gpu and not has_gpu:
        report.say(f"instance type {kind} has a GPU, and this machine has none to use: training on the processor")
    return TrainingContext(
        hyperparameters=hyperparameters,
        channels=channels,
        output_data=layout.output_data,
        checkpoints=layout.checkpoints,
        report=report,
        stop=stop,
        threads=_threads(machine.cores()),
        device="cuda" if wants_gpu and has_gpu else "cpu",
        rank=resources.rank,
        world_size=resources.world_size,
        memory_bytes=machine.available_memory(),
    )


def check_memory(algorithm: Algorithm[Any], context: TrainingContext[Any]) -> None:
    """Refuse a job that cannot fit, before it allocates. Raises ClientError with the algorithm's advice."""
    from wildsage.contract.errors import ClientError

    estimate = algorithm.estimate_memory(context)
    available = context.memory_bytes
    if available is not None and estimate.peak_bytes > available:
        need = f"training needs about {_size(estimate.peak_bytes)} of memory and {_size(available)} is available"
        raise ClientError(f"{need}: {estimate.advice}")
    of = "" if available is None else f" of {_size(available)} available"
    log.info("Memory: at most about %s%s; threads: %d", _size(estimate.peak_bytes), of, context.threads)


def save(model: Model, folder: Path) -> tuple[int, int, int]:
    """Save a model beside its folder, then move it there.

    Returns its number of files, their bytes, and those that they take of the disk, which are fewer if they have holes.
    """
    with _staging(folder) as staging:
        model.save(staging)
        found = [path.stat() for path in staging.rglob("*") if path.is_file()]
        _replace_folder(staging, folder)
    return len(found), sum(each.st_size for each in found), sum(each.st_blocks * BLOCK_BYTES for each in found)


@contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    staging = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _replace_folder(staging: Path, folder: Path) -> None:
    old = folder.with_name(f"{staging.name}.old")
    try:
        if folder.exists():
            os.rename(folder, old)
        os.rename(staging, folder)
    except OSError:
        # In a container the folder is often a mount point, which cannot be renamed: its files are renamed in, one by
        # one, and what the model does not have is taken away.
        if old.exists() and not folder.exists():
            os.rename(old, folder)
        _move_files(staging, folder)
    shutil.rmtree(old, ignore_errors=True)


def _move_files(staging: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = set()
    for path in sorted(staging.iterdir()):
        beside = folder / f".{path.name}.new"
        target = folder / path.name
        # The move may cross file systems, so it copies; only the rename within the folder is at once.
        shutil.move(path, beside)
        if target.is_dir() or beside.is_dir():
            shutil.rmtree(target, ignore_errors=True)
        os.replace(beside, target)
        names.add(path.name)
    for path in folder.iterdir():
        if path.name not in names:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _threads(cores: int) -> int:
    text = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(cores, int(text))) if text.isdecimal() else cores


def _peak_memory() -> int:
    peak = 0
    with suppress(ImportError):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Kilobytes on Linux, bytes on macOS.
    return peak if sys.platform == "darwin" else peak * 1024


def _size(count_of_bytes: float) -> str:
    from wildsage.runtime.report import size

    return size(count_of_bytes)


class Stopwatch:
    """Seconds of each phase of a job."""

    def __init__(self) -> None:
        self._start = self._last = time.monotonic()
        self.laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        """End a phase."""
        now = time.monotonic()
        self.laps[name], self._last = round(now - self._last, 3), now

    def total(self) -> float:
        return round(time.monotonic() - self._start, 3)


if __name__ == "__main__":
    raise SystemExit(main())
