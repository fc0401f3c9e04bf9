"""The serve program of a job: `python -m wildsage.runtime.serve`.

This process is the front: it speaks HTTP, holds every request until its answer, and loads no model, no NumPy and no
code of a user. The zygote it starts loads the model and forks the workers.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from wildsage.contract import machine
from wildsage.contract.errors import ClientError
from wildsage.contract.failure import EXIT_FAILURE, EXIT_FINAL
from wildsage.contract.layout import Layout
from wildsage.runtime import blas, launch

DEFAULT_PORT = 8080


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; what it leaves out comes from the container contract's environment variables.

    Raises ClientError for a variable that is wrong.
    """
    parser = argparse.ArgumentParser(prog="wildsage.runtime.serve", description="Serve a model folder over HTTP.")
    parser.add_argument("--algorithm", help="its name; found out from the model's files if left out")
    parser.add_argument("--model", type=Path, help="folder of the model (default: model/ below SAGEMAKER_BASE_DIR)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_count, help=f"default: SAGEMAKER_BIND_TO_PORT, or {DEFAULT_PORT}; 0: any")
    parser.add_argument("--workers", type=_count, help="default: SAGEMAKER_MODEL_SERVER_WORKERS, or one a core")
    options = parser.parse_args(arguments)
    if options.model is None:
        options.model = Layout.from_environment().model
    if options.port is None:
        options.port = _setting("SAGEMAKER_BIND_TO_PORT", DEFAULT_PORT)
    if options.workers is None:
        options.workers = _setting("SAGEMAKER_MODEL_SERVER_WORKERS", machine.cores())
    if options.workers < 1:
        raise ClientError(f"{options.workers} workers are not allowed: 1 or more")
    if options.port > 65535:
        raise ClientError(f"port {options.port} is not allowed: 0 to 65535")
    options.timeout_s = _setting("SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS", 0) or _setting(
        "SAGEMAKER_MODEL_SERVER_TIMEOUT", 60
    )
    options.startup_s = _setting("SAGEMAKER_STARTUP_TIMEOUT", 600)
    options.payload_mb = _setting("SAGEMAKER_MAX_PAYLOAD_IN_MB", 0)
    return options


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise ValueError
    return value


def _setting(name: str, default: int) -> int:
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    try:
        return _count(text)
    except ValueError:
        raise ClientError(f"{name}={text} is not allowed: a whole number, 0 or more") from None


def listen(host: str, port: int) -> socket.socket:
    """The listening socket: inherited (WILDSAGE_LISTEN_FD), or of our own. Raises OSError and ValueError."""
    inherited = os.environ.pop("WILDSAGE_LISTEN_FD", "")
    if inherited:
        listener = socket.socket(fileno=int(inherited))
        # Kept from the zygote and the workers, which would hold the address open after our end.
        listener.set_inheritable(False)
        if not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise ValueError("WILDSAGE_LISTEN_FD is not a listening socket")
        return listener
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(1024)
    return listener


def main(arguments: Sequence[str] | None = None) -> int:
    begun = time.monotonic()
    blas.prepare()
    try:
        options = parse(arguments)
    except ClientError as error:
        sys.stderr.write(f"ClientError: {error}\n")
        return EXIT_FINAL
    try:
        listener = listen(options.host, options.port)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"ClientError: cannot listen on {options.host}:{options.port}: {error}\n")
        return EXIT_FAILURE  # the address may be free the next time
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until the event loop takes it over
    first = launch.zygote(options.model, options.algorithm)

    from wildsage.contract import log
    from wildsage.runtime import server

    log.configure()
    return server.run(first, listener, options, begun)


if __name__ == "__main__":
    sys.exit(main())
