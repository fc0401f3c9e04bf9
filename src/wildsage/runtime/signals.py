"""SIGTERM to a stop flag, also while the main thread is deep inside a kernel."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def stop_on_signal(stop: threading.Event) -> Iterator[None]:
    """Set `stop` at the first SIGTERM or SIGINT; end the process at once at the second. Main thread only.

    Python runs a handler between two bytecodes of the main thread, so never during a kernel that takes minutes. The C
    part of the handler writes the signal's number to a pipe at once, and a thread of ours reads it there.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = {number: signal.signal(number, _pass) for number in STOP_SIGNALS}
    wakeup_before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    watcher = threading.Thread(target=_watch, args=(reader, stop), name="signals", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup_before)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(writer)
        watcher.join()
        os.close(reader)


def _pass(number: int, frame: object) -> None:
    """Stands for the default action, which would end the process."""


def _watch(reader: int, stop: threading.Event) -> None:
    while data := os.read(reader, 64):
        for number in data:
            if number not in STOP_SIGNALS:
                continue
            name = signal.Signals(number).name
            if stop.is_set():
                log.warning("%s again: ending at once", name)
                logging.shutdown()
                os._exit(128 + number)
            stop.set()
            log.info("%s: stopping after a checkpoint", name)
