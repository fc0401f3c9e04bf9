"""The stop flag, in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from threading import Event

from tests.runtime.third_party import ROOT
from tests.waiting import until
from wildsage.runtime.signals import stop_on_signal

# pbkdf2 stands for a kernel: one call of many seconds that lets other threads run, but no signal handler of Python.
INSIDE_A_KERNEL = """
import hashlib, threading
from wildsage.runtime.signals import stop_on_signal
stop, inside = threading.Event(), True
def tell():
    stop.wait()
    print("stop seen, inside the kernel:", inside, flush=True)
with stop_on_signal(stop):
    threading.Thread(target=tell, daemon=True).start()
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha512", b"a", b"b", 30_000_000)
    inside = False
"""


def test_the_flag_is_set_while_the_main_thread_is_inside_a_kernel() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", INSIDE_A_KERNEL]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "stop seen, inside the kernel: True\n"
    finally:
        process.kill()
        process.communicate()


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    stop = Event()
    with stop_on_signal(stop):
        os.kill(os.getpid(), signal.SIGTERM)
        until(stop.is_set, what="the stop flag")
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
    assert signal.set_wakeup_fd(-1) == -1
