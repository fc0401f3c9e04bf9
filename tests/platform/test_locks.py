"""Lock files, among threads and processes."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

from wildsage.platform import locks

HOLDER = (
    "import sys; from pathlib import Path; from wildsage.platform import locks\n"
    "with locks.held(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()\n"
)


def test_a_lock_is_held_by_one_and_ends_with_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with locks.held(path, wait_s=0) as held:
            assert not held
    finally:
        holder.kill()
        holder.communicate()
    with locks.held(path, wait_s=10) as held:
        assert held


def test_threads_exclude_each_other_although_the_holder_discards_the_file(tmp_path: Path) -> None:
    path, inside, worst = tmp_path / "lock", [0], [0]

    def work() -> None:
        for _ in range(50):
            with locks.held(path) as held:
                assert held
                inside[0] += 1
                worst[0] = max(worst[0], inside[0])
                inside[0] -= 1
                locks.discard(path)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert worst == [1]
