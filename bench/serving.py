"""Claim: five times the requests a second of LitServe, MLServer and BentoML, three times FastAPI's, same classifier.

    python -m bench.serving [--rounds 5] [--peers DIR] [--peers-mlserver DIR] [--only NAME …]

Peers are not dependencies of this project; they live in environments of their own, beside which ours is measured:

    python -m venv ENV && ENV/bin/pip install litserve bentoml fastapi uvicorn uvloop httptools msgspec numba pydantic
    python -m venv ENV2 && ENV2/bin/pip install mlserver 'uvloop<0.22' msgspec numba  # its workers die with a newer

Every server answers with the same predict function, from the same file of fastText's format (20 labels, 50,000 words of
100 dimensions, bigrams), made here with the fastText package. Two workers each, one thread in each, access logs off, 32
kept connections of one closed-loop client on the same machine, so that the client's CPU is part of every figure.
Servers are started anew in each round, in turn. MLServer speaks its own protocol with the same texts.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench import load
from bench.machine import describe

ROOT = Path(__file__).parents[1]
LABELS, WORDS, DIMENSIONS = 20, 50_000, 100
ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Kind:
    """A server and one of its settings. packages: what must be importable in its environment."""

    name: str
    environment: str  # ours, peers or mlserver
    package: str
    command: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)


KINDS = (
    Kind("Wildsage", "ours", "wildsage", ("-m", "wildsage.runtime.serve")),
    Kind("FastAPI on uvicorn, async", "peers", "fastapi", ("-m", "bench.peers.fastapi_app")),
    Kind("LitServe, default queue", "peers", "litserve", ("-m", "bench.peers.litserve_app"), {"LITSERVE": "default"}),
    Kind("LitServe, fast queue", "peers", "litserve", ("-m", "bench.peers.litserve_app"), {"LITSERVE": "fast"}),
    Kind(
        "LitServe, batches of 32, 2 ms", "peers", "litserve", ("-m", "bench.peers.litserve_app"), {"LITSERVE": "batch"}
    ),
    Kind(
        "MLServer, one process",
        "mlserver",
        "mlserver",
        ("-c", "from mlserver.cli import main; main()", "start"),
        {"PARALLEL": "0"},
    ),
    Kind(
        "MLServer, 2 parallel workers",
        "mlserver",
        "mlserver",
        ("-c", "from mlserver.cli import main; main()", "start"),
        {"PARALLEL": "2"},
    ),
    Kind("BentoML, async method", "peers", "bentoml", ("-m", "bentoml", "serve")),
)


def words(seed: int) -> Iterator[str]:
    """Texts as long as a tweet (72 characters), their words by Zipf's law."""
    draw = random.Random(seed)
    while True:
        yield " ".join(f"w{min(WORDS - 1, int(draw.paretovariate(0.6)))}" for _ in range(14))


def make_model(folder: Path) -> None:
    import fasttext

    texts = words(1)
    with (folder / "train.txt").open("w") as out:
        for number in range(WORDS):
            out.write(f"__label__{number % LABELS} w{number} {next(texts)}\n")
    model = fasttext.train_supervised(
        str(folder / "train.txt"),
        dim=DIMENSIONS,
        wordNgrams=2,
        bucket=100_000,
        epoch=1,
        minCount=1,
        thread=1,
        verbose=0,
    )
    (folder / "train.txt").unlink()
    model.save_model(str(folder / "model.bin"))


def requests(kind: Kind, texts_each: int) -> list[bytes]:
    texts = words(2)
    bodies = [[next(texts) for _ in range(texts_each)] for _ in range(64)]
    if kind.package != "mlserver":
        return [load.post("/invocations", {"instances": body}) for body in bodies]
    shape = [texts_each, 1]
    inputs = [[{"name": "texts", "shape": shape, "datatype": "BYTES", "data": body}] for body in bodies]
    return [load.post("/v2/models/classifier/infer", {"inputs": each}) for each in inputs]


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    try:
        below = [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except OSError:
        return []
    return [pid, *(found for child in below for found in tree(child))]


def memory_mb(pid: int) -> dict[str, float]:
    """Memory of a process tree, shared pages divided among those that share them: whole, and without mapped files.

    Mapped files (libraries, the model) are shared with whatever else runs on the machine, so their part in a difference
    of two measurements is chance.
    """
    total = {"Pss": 0.0, "Pss_Anon": 0.0}
    for each in tree(pid):
        try:
            lines = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        for name, _, value in (line.partition(":") for line in lines):
            if name in total:
                total[name] += int(value.split()[0]) / 1024
    return total


def cpu_s(pid: int) -> float:
    total = 0.0
    for each in tree(pid):
        try:
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


@contextmanager
def running(kind: Kind, python: Path, model: Path, workers: int) -> Iterator[tuple[int, tuple[str, int], float]]:
    """Start a server; yields its process id, its address, and the seconds to its first answer."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
        variables = {**os.environ, **ONE_THREAD, **kind.variables, "PYTHONPATH": source, "MODEL_FOLDER": str(model)}
        variables |= {"PORT": str(port), "WORKERS": str(workers)}
        command = [str(python), *kind.command]
        if kind.package == "wildsage":
            command += ["--model", str(model), "--port", str(port), "--workers", str(workers)]
        elif kind.package == "bentoml":
            command += ["bench.peers.bentoml_app:Service", "--host", "127.0.0.1", "--port", str(port)]
            variables |= {"BENTOML_DO_NOT_TRACK": "true", "BENTOML_HOME": name}
        elif kind.package == "mlserver":
            parallel = 0 if kind.variables["PARALLEL"] == "0" else workers
            variables |= {"MLSERVER_HOST": "127.0.0.1", "MLSERVER_HTTP_PORT": str(port), "MLSERVER_GRPC_PORT": "0"}
            variables |= {
                "MLSERVER_METRICS_PORT": "0",
                "MLSERVER_PARALLEL_WORKERS": str(parallel),
                "MLSERVER_DEBUG": "false",
            }
            variables |= {"MLSERVER_METRICS_ENDPOINT": "", "MLSERVER_MODEL_NAME": "classifier"}
            variables |= {"MLSERVER_MODEL_IMPLEMENTATION": "bench.peers.mlserver_app.Runtime"}
            command.append(name)
        with (folder / "log").open("wb") as log:
            begun = time.perf_counter()
            server = subprocess.Popen(
                command, env=variables, stdout=log, stderr=log, cwd=folder, start_new_session=True
            )
        try:
            address = ("127.0.0.1", port)
            first = requests(kind, 1)
            while True:
                try:
                    if load.run(address, first, connections=1, count=1).latencies_s:
                        break
                except OSError:
                    pass
                if server.poll() is not None or time.perf_counter() - begun > 60:
                    raise RuntimeError(f"{kind.name} does not answer:\n{(folder / 'log').read_text()[-2000:]}")
                time.sleep(0.01)
            yield server.pid, address, time.perf_counter() - begun
        finally:
            family = tree(server.pid)
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(15)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
            for pid in family[1:]:  # what the server left behind, by the ids that were its own
                if Path(f"/proc/{pid}/environ").exists() and f"PORT={port}".encode() in environment_of(pid):
                    os.kill(pid, signal.SIGKILL)


def environment_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


@dataclass
class Round:
    requests_a_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    lost: int


def measure(kind: Kind, pid: int, address: tuple[str, int], texts: int, seconds: float) -> Round:
    asked = requests(kind, texts)
    load.run(address, asked, count=3000, seconds=seconds)
    before = cpu_s(pid)
    report = load.run(address, asked, count=25_000, seconds=seconds)
    cpu = cpu_s(pid) - before
    answered = max(1, len(report.latencies_s))
    return Round(
        report.requests_a_second,
        report.quantile_ms(0.5),
        report.quantile_ms(0.99),
        cpu / answered * 1e6,
        len(report.lost),
    )


def median_and_range(values: list[float], form: str) -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}}-{max(values):{form}})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of a measurement, at most (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--texts", type=int, nargs="+", default=[1, 32], help="texts of a request")
    parser.add_argument("--peers", type=Path, help="virtual environment of the peers but MLServer")
    parser.add_argument("--peers-mlserver", type=Path, help="virtual environment of MLServer")
    parser.add_argument("--only", nargs="+", default=[""], help="servers whose name holds one of these words")
    options = parser.parse_args()
    homes = {"ours": Path(sys.prefix), "peers": options.peers, "mlserver": options.peers_mlserver}
    kinds: list[tuple[Kind, Path]] = []
    for kind in KINDS:
        if not any(word.lower() in kind.name.lower() for word in options.only):
            continue
        home = homes[kind.environment]
        python = home / "bin" / "python" if home else Path("/nonexistent")
        probe = [str(python), "-c", f"import {kind.package}"]
        if not python.exists() or subprocess.run(probe, capture_output=True, cwd=ROOT / "src").returncode:
            print(f"skipped: {kind.name} ({kind.package} is not installed{f' in {home}' if home else ''})")
            continue
        kinds.append((kind, python))

    rounds: dict[tuple[str, int], list[Round]] = {}
    starts: dict[str, list[float]] = {}
    memory: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        model = Path(name)
        make_model(model)
        for number in range(options.rounds):
            for kind, python in kinds:
                with running(kind, python, model, options.workers) as (pid, address, start_s):
                    starts.setdefault(kind.name, []).append(start_s)
                    for texts in options.texts:
                        seen = measure(kind, pid, address, texts, options.seconds)
                        rounds.setdefault((kind.name, texts), []).append(seen)
                    if number == 0:
                        whole = memory_mb(pid)
                if number == 0:
                    with running(kind, python, model, options.workers + 1) as (pid, address, _):
                        for texts in options.texts:
                            measure(kind, pid, address, texts, options.seconds)
                        memory[kind.name] = whole["Pss"], memory_mb(pid)["Pss_Anon"] - whole["Pss_Anon"]

    print(describe("fasttext-numpy2"))
    for texts in options.texts:
        print(
            f"\n{texts} text{'s' if texts > 1 else ''} a request, {options.workers} workers, 32 connections, ", end=""
        )
        print(f"{options.rounds} alternated rounds: median (range)")
        print("| server | requests/s | p50 ms | p99 ms | CPU us/request | start to first answer s | lost |")
        print("|---|---|---|---|---|---|---|")
        for kind, _ in kinds:
            seen = rounds[kind.name, texts]
            print(
                f"| {kind.name} | {median_and_range([each.requests_a_second for each in seen], ',.0f')} "
                f"| {statistics.median(each.p50_ms for each in seen):.2f} "
                f"| {median_and_range([each.p99_ms for each in seen], '.1f')} "
                f"| {statistics.median(each.cpu_us for each in seen):.0f} "
                f"| {statistics.median(starts[kind.name]):.2f} | {sum(each.lost for each in seen)} |"
            )
        ratios(kinds, rounds, texts)
    print(f"\n| server | memory MB, {options.workers} workers (PSS of all processes) | ", end="")
    print("a further worker MB (without mapped files) |")
    print("|---|---|---|")
    for kind, _ in kinds:
        whole, more = memory[kind.name]
        print(f"| {kind.name} | {whole:.0f} | {more:.1f} |")


def ratios(kinds: list[tuple[Kind, Path]], rounds: dict[tuple[str, int], list[Round]], texts: int) -> None:
    """Print ours over each group of peers, the best setting of the group by its median."""

    def speed(name: str) -> float:
        return statistics.median(each.requests_a_second for each in rounds[name, texts])

    def p99_ms(name: str) -> float:
        return statistics.median(each.p99_ms for each in rounds[name, texts])

    ours = [kind.name for kind, _ in kinds if kind.package == "wildsage"]
    groups = {"LitServe": {"litserve"}, "FastAPI": {"fastapi"}}
    groups["the best of LitServe, MLServer and BentoML"] = {"litserve", "mlserver", "bentoml"}
    for title, packages in groups.items():
        peers = [kind.name for kind, _ in kinds if kind.package in packages]
        if ours and peers:
            best, quickest = max(peers, key=speed), min(peers, key=p99_ms)
            print(f"over {title}: {speed(ours[0]) / speed(best):.1f}x the requests/s of {best}, ", end="")
            print(f"{p99_ms(ours[0]) / p99_ms(quickest):.2f}x the p99 of {quickest}")


if __name__ == "__main__":
    main()
