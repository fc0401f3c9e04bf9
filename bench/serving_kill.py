"""Claim: SIGKILL loses no request. 10,000 requests from 32 connections while workers are killed 20 times.

    python -m bench.serving_kill [--kills 20] [--requests 10000] [--workers 2] [--delay-ms 0 3]

Serves a model that sleeps for so many milliseconds a call (0: not at all) and echoes. A loss is a request that was sent
and not answered with 200; the client tries nothing again. The longest wait is beside that of the same run without
kills, since what counts is what the kills add. A replacement's time is from the loss of a worker to the readiness of
the next, as the server's log says it.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from bench import load
from bench.machine import describe

ALGORITHM = """
import os
import time
from wildsage.algorithms.base import Algorithm, Model
from wildsage.contract.hyperparameters import Hyperparameters

DELAY_S = float(os.environ["DELAY_MS"]) / 1000

class Echo(Model):
    def save(self, folder): raise NotImplementedError
    @classmethod
    def load(cls, folder): return cls()
    def predict(self, instances, options):
        if DELAY_S:
            time.sleep(DELAY_S)
        return [{"label": [text], "prob": [1.0]} for text in instances]

class EchoAlgorithm(Algorithm):
    name, model, hyperparameters = "bench-echo", Echo, Hyperparameters
    def estimate_memory(self, context): raise NotImplementedError
    def train(self, context): raise NotImplementedError
"""


def install(folder: Path) -> None:
    """Lay the algorithm down as an installed package."""
    (folder / "bench_echo.py").write_text(ALGORITHM)
    info = folder / "bench_echo-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bench-echo\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[wildsage.algorithms]\nbench-echo = bench_echo:EchoAlgorithm\n")


def children(pid: int) -> list[int]:
    """Process ids of a process's children (Linux)."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


class Killer(threading.Thread):
    """Kills one worker after the other while requests run."""

    def __init__(self, zygote: int, kills: int, pause_s: float) -> None:
        super().__init__(daemon=True)
        self.zygote, self.kills, self.pause_s = zygote, kills, pause_s
        self.done = 0
        self.stop = threading.Event()

    def run(self) -> None:
        while self.done < self.kills and not self.stop.wait(self.pause_s):
            alive = children(self.zygote)
            if not alive:
                continue
            os.kill(alive[self.done % len(alive)], signal.SIGKILL)
            self.done += 1


def measure(delay_ms: float, requests: int, kills: int, workers: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        install(folder)
        listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        os.set_inheritable(listener.fileno(), True)
        environment = dict(os.environ, DELAY_MS=str(delay_ms), WILDSAGE_LISTEN_FD=str(listener.fileno()))
        environment["PYTHONPATH"] = os.pathsep.join([name, *filter(None, [os.environ.get("PYTHONPATH")])])
        command = [sys.executable, "-m", "wildsage.runtime.serve", "--algorithm", "bench-echo", "--model", name]
        log = folder / "log"
        with log.open("wb") as out:
            server = subprocess.Popen(
                [*command, "--workers", str(workers)], env=environment, pass_fds=[listener.fileno()], stderr=out
            )
        try:
            address = listener.getsockname()
            texts = [load.post("/invocations", {"instances": [f"a review of a dress, number {i}"]}) for i in range(100)]
            load.run(address, texts, count=1000)
            normal = load.run(address, texts, count=requests)
            (zygote,) = children(server.pid)
            # The kills are spread over the run, which they must not outlast.
            killer = Killer(zygote, kills, pause_s=min(0.1, 0.5 * normal.seconds / kills))
            killer.start()
            hit = load.run(address, texts, count=requests)
            while killer.done < kills:  # the run was too short for them all: go on with as many again
                more = load.run(address, texts, count=requests)
                hit.latencies_s += more.latencies_s
                hit.lost += more.lost
            killer.stop.set()
            killer.join()
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(40)
            listener.close()
        replaced_ms = [float(took) for took in re.findall(r"is ready, (\d+) ms after the loss", log.read_text())]
    return {
        "requests": len(hit.latencies_s) + len(hit.lost),
        "kills": killer.done,
        "lost": len(hit.lost),
        "longest_ms": max(hit.latencies_s) * 1000,
        "normal_longest_ms": max(normal.latencies_s) * 1000,
        "p99_ms": hit.quantile_ms(0.99),
        "replaced_ms": statistics.median(replaced_ms),
        "replaced_longest_ms": max(replaced_ms),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--delay-ms", type=float, nargs="+", default=[0.0, 3.0])
    options = parser.parse_args()
    print(describe())
    print(
        "| delay ms | requests | kills | lost | longest ms (without kills) | p99 ms | replaced ms, median (longest) |"
    )
    print("|---|---|---|---|---|---|---|")
    for delay_ms in options.delay_ms:
        seen = measure(delay_ms, options.requests, options.kills, options.workers)
        print(
            f"| {delay_ms:g} | {seen['requests']:,} | {seen['kills']} | {seen['lost']} "
            f"| {seen['longest_ms']:.0f} ({seen['normal_longest_ms']:.0f}) | {seen['p99_ms']:.1f} "
            f"| {seen['replaced_ms']:.0f} ({seen['replaced_longest_ms']:.0f}) |"
        )


if __name__ == "__main__":
    main()
