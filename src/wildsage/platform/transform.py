"""The program of a transform job: `python -m wildsage.platform.transform FOLDER`.

It starts a model server as its child, sends it the records of the input files, and writes an output file for each. A
file with a bad record gets no output; the others are done all the same. Exit 0: all files are done; 1: see
FOLDER/failure.
"""

from __future__ import annotations

import gzip
import http.client
import itertools
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NoReturn, cast

from wildsage.contract import log
from wildsage.contract.errors import ClientError, DataError, InternalServerError, WildsageError
from wildsage.contract.failure import EXIT_FAILURE, EXIT_FINAL, EXIT_OK, failure_text, write_failure
from wildsage.contract.files import beside_name, new_file
from wildsage.platform import artifacts, places, runs
from wildsage.platform.endpoints import DEFAULT_STARTUP_S, HOST, serve_command
from wildsage.platform.filters import Filters
from wildsage.platform.servers import Connections, answers

DEFAULT_PAYLOAD_MB = 6
DEFAULT_TIMEOUT_S = 600
DEFAULT_RETRIES = 3
ADVICE_TIMEOUT_S = 5.0
RECORDIO_MAGIC = 0xCED7230A
_TRIED_AGAIN = (429, 500, 502, 503, 504)
_PAUSE_S = 0.05

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """A transform job as its request says it, with defaults filled in."""

    content_type: str | None
    accept: str | None
    split: str
    single: bool
    assemble_with_line: bool
    gzipped: bool
    payload_bytes: int
    concurrency: int
    timeout_s: float
    retries: int
    filters: Filters

    @classmethod
    def of(cls, request: Mapping[str, Any], advice: Mapping[str, Any]) -> Plan:
        """advice: what the server's /execution-parameters says; it counts where the request says nothing."""
        source, output = request["TransformInput"], request["TransformOutput"]
        megabytes = request.get("MaxPayloadInMB") or advice.get("MaxPayloadInMB") or DEFAULT_PAYLOAD_MB
        strategy = request.get("BatchStrategy") or {"SINGLE_RECORD": "SingleRecord"}.get(
            advice.get("BatchStrategy", "")
        )
        client = request.get("ModelClientConfig", {})
        content_type, accept = source.get("ContentType"), output.get("Accept")
        filters = Filters.of(request.get("DataProcessing", {}), content_type, accept)
        return cls(
            content_type=content_type,
            # What is filtered or joined is read as of the input's type, so that it is to be answered in it.
            accept=accept or (filters.accept if filters.reads_answers else None),
            split=source.get("SplitType", "None"),
            single=strategy == "SingleRecord",
            assemble_with_line=output.get("AssembleWith") == "Line",
            gzipped=source.get("CompressionType") == "Gzip",
            payload_bytes=int(megabytes) << 20,
            concurrency=int(request.get("MaxConcurrentTransforms") or advice.get("MaxConcurrentTransforms") or 1),
            timeout_s=client.get("InvocationsTimeoutInSeconds", DEFAULT_TIMEOUT_S),
            retries=client.get("InvocationsMaxRetries", DEFAULT_RETRIES),
            filters=filters,
        )


@dataclass(frozen=True)
class Payload:
    """One request. first: the number of its first record in the file, from 1. sources: its records, not filtered."""

    body: bytes
    first: int
    sources: list[bytes] = field(default_factory=list)


def split(file: IO[bytes], how: str, name: str) -> Iterator[bytes]:
    """The records of a file. Lines come without their ends, and blank ones not at all; RecordIO frames come whole."""
    if how == "Line":
        for line in file:
            record = line.rstrip(b"\r\n")
            if record.strip():
                yield record
    elif how == "RecordIO":
        yield from _frames(file, name)
    else:
        yield file.read()


def _frames(file: IO[bytes], name: str) -> Iterator[bytes]:
    place = 0
    while header := file.read(8):
        length = int.from_bytes(header[4:8], "little") & ((1 << 29) - 1)  # MXNet keeps a flag in the top three bits
        padded = (length + 3) // 4 * 4
        content = file.read(padded)
        if len(header) < 8 or int.from_bytes(header[:4], "little") != RECORDIO_MAGIC or len(content) < padded:
            raise DataError("this is not a RecordIO frame", file=name, byte=place)
        yield header + content
        place += 8 + padded


def pack(records: Iterable[bytes], plan: Plan, name: str) -> Iterator[Payload]:
    """Fill requests with records up to the largest payload, or put each into one of its own."""
    glue = b"\n" if plan.split == "Line" else b""
    batch: list[bytes] = []
    sources: list[bytes] = []
    size, first = 0, 1
    for number, source in enumerate(records, 1):
        record = plan.filters.before(source, f"{name}, record {number}")
        if len(record) > plan.payload_bytes:
            limit = plan.payload_bytes >> 20
            raise DataError(f"record {number} has {len(record)} bytes: at most {limit} MB (MaxPayloadInMB)", file=name)
        if batch and (plan.single or size + len(glue) + len(record) > plan.payload_bytes):
            yield Payload(glue.join(batch), first, sources)
            batch, sources, size, first = [], [], 0, number
        batch.append(record)
        sources.append(source)
        size += len(record) + (len(glue) if size else 0)
    if batch:
        yield Payload(glue.join(batch), first, sources)


class Server:
    """The model server, as the child of this process, and connections to it."""

    def __init__(self, command: tuple[str, ...], environment: Mapping[str, str]) -> None:
        listener = socket.create_server((HOST, 0), backlog=1024)
        self.address: tuple[str, int] = listener.getsockname()[:2]
        self._connections = Connections()
        with listener:
            self._process = subprocess.Popen(
                command,
                env={**os.environ, **environment, "WILDSAGE_LISTEN_FD": str(listener.fileno())},
                stdin=subprocess.DEVNULL,
                pass_fds=(listener.fileno(),),
            )

    def wait_until_ready(self, timeout_s: float, folder: Path) -> None:
        """Wait until the server answers. folder: of the run, whose log has the server's words.

        Raises ClientError if it says that the model cannot be served, InternalServerError if it ends otherwise or does
        not answer in time.
        """
        deadline = time.monotonic() + timeout_s
        while not answers(self.address):
            if (code := self._process.poll()) is not None:
                if code == EXIT_FINAL and (said := runs.own_reason(folder)) is not None:
                    raise ClientError(said.removeprefix("ClientError: "))
                raise InternalServerError(f"the model server ended with exit code {code} before it answered")
            if time.monotonic() > deadline:
                raise InternalServerError(f"the model server did not answer /ping within {timeout_s:g} s")
            time.sleep(_PAUSE_S)

    def advice(self) -> dict[str, Any]:
        """What /execution-parameters says; nothing where the server has none."""
        answer = self._connections.exchange(self.address, "GET", "/execution-parameters", timeout_s=ADVICE_TIMEOUT_S)
        try:
            found = json.loads(answer.body) if answer.status == 200 else {}
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def invoke(self, payload: Payload, plan: Plan) -> bytes:
        """The answer to a request. Raises ClientError if the server refuses it, InternalServerError if it cannot."""
        headers = {"Content-Type": plan.content_type, "Accept": plan.accept}
        given = {name: value for name, value in headers.items() if value is not None}
        for attempt in itertools.count():
            try:
                status, _, body = self._connections.exchange(
                    self.address, "POST", "/invocations", body=payload.body, headers=given, timeout_s=plan.timeout_s
                )
            except (OSError, http.client.HTTPException) as error:
                status, body = 503, f"{type(error).__name__}: {error}".encode()
            if status < 300:
                return body
            said = f"the model server answered {status}: {body[:500].decode('utf-8', 'replace').strip()}"
            if status not in _TRIED_AGAIN:
                raise ClientError(said)
            if attempt >= plan.retries:
                raise InternalServerError(said)
            time.sleep(_PAUSE_S * 2**attempt)
        raise AssertionError

    def stop(self) -> None:
        self._connections.close()
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def in_order(work: Callable[[Payload], bytes], payloads: Iterable[Payload], at_once: int) -> Iterator[bytes]:
    """Do the work for `at_once` payloads at a time; the results come in the order of the payloads."""
    with ThreadPoolExecutor(at_once) as pool:
        pending: deque[Future[bytes]] = deque()
        try:
            for payload in payloads:
                pending.append(pool.submit(work, payload))
                if len(pending) >= at_once:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def transform_file(source: Path, key: str, output: str, home: Path, plan: Plan, server: Server) -> None:
    """Send one file and write its output. Raises WildsageError, with the file's key, and then writes nothing."""

    def work(payload: Payload) -> bytes:
        try:
            answer = server.invoke(payload, plan)
            return plan.filters.after(answer, payload.sources)
        except WildsageError as error:
            count = len(payload.sources)
            last = payload.first + count - 1
            which = f"record {last}" if count == 1 else f"records {payload.first} to {last}"
            family = InternalServerError if isinstance(error, InternalServerError) else ClientError
            raise family(f"{key}, {which}: {error}") from error

    at_once = plan.concurrency if plan.split != "None" else 1
    with _written(output, source.parent, home) as target, _opened(source, plan) as file:
        try:
            for answer in in_order(work, pack(split(file, plan.split, key), plan, key), at_once):
                target.write(answer)
                if plan.assemble_with_line and not answer.endswith(b"\n"):
                    target.write(b"\n")
        except (gzip.BadGzipFile, EOFError) as error:
            raise DataError(f"not a whole gzip file: {error}", file=key) from error


def _opened(source: Path, plan: Plan) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(source, "rb")) if plan.gzipped else source.open("rb")


@contextmanager
def _written(uri: str, scratch: Path, home: Path) -> Iterator[IO[bytes]]:
    """A file that comes to its place whole when the block ends, and not at all when it raises."""
    local = places.local_path(uri, home)
    if local is not None:
        with new_file(local, durable=True) as file:
            yield file
        return
    beside = beside_name(scratch / uri.rpartition("/")[2])
    try:
        with beside.open("xb") as file:
            yield file
        artifacts.upload(beside, uri, home)
    finally:
        beside.unlink(missing_ok=True)


def run(folder: Path) -> None:
    """Do the job. Raises WildsageError when it comes to nothing, or not to all of it."""
    charge = runs.Charge.read(folder)
    request = charge.request
    inputs = folder / runs.INPUTS
    files = {path.relative_to(inputs).as_posix(): path for path in sorted(inputs.rglob("*")) if path.is_file()}
    at_once = request.get("MaxConcurrentTransforms") or 1
    command = serve_command(charge.more["algorithm"], folder / runs.MODEL_LINK, workers=at_once)
    server = Server(command, _environment(request, charge.more["environment"]))
    try:
        server.wait_until_ready(DEFAULT_STARTUP_S, folder)
        plan = Plan.of(request, server.advice())
        logger.info("transforming %d files, %d requests at a time", len(files), plan.concurrency)
        failed = _transform_all(files, request["TransformOutput"]["S3OutputPath"], charge.home, plan, server)
    finally:
        server.stop()
    if failed:
        raise type(failed[0])(f"{len(failed)} of {len(files)} files failed: {'; '.join(map(str, failed))}")


def _transform_all(
    files: Mapping[str, Path], output: str, home: Path, plan: Plan, server: Server
) -> list[WildsageError]:
    """Files one after the other; side by side where each is a single request. Returns what went wrong."""

    def one(key: str) -> WildsageError | None:
        began = time.monotonic()
        try:
            transform_file(files[key], key, artifacts.join(output, f"{key}.out"), home, plan, server)
        except (WildsageError, OSError) as error:
            logger.error("%s", error)
            if isinstance(error, OSError):
                return ClientError(f"{key}: {error.strerror or error}")
            return ClientError(str(error)) if isinstance(error, ClientError) else InternalServerError(str(error))
        logger.info("%s: done in %.1f s", key, time.monotonic() - began)
        return None

    with ThreadPoolExecutor(plan.concurrency if plan.split == "None" else 1) as pool:
        return [error for error in pool.map(one, files) if error is not None]


def _environment(request: Mapping[str, Any], model: Mapping[str, str]) -> dict[str, str]:
    told = {
        "SAGEMAKER_BATCH": "true",
        "SAGEMAKER_MAX_PAYLOAD_IN_MB": request.get("MaxPayloadInMB"),
        "SAGEMAKER_BATCH_STRATEGY": {"SingleRecord": "SINGLE_RECORD", "MultiRecord": "MULTI_RECORD"}.get(
            request.get("BatchStrategy", "")
        ),
        "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS": request.get("MaxConcurrentTransforms"),
    }
    given = {name: str(value) for name, value in told.items() if value is not None}
    return {**model, **request.get("Environment", {}), **given}


def main() -> NoReturn:
    """Run the job of the folder named on the command line."""
    log.configure(sys.stdout)
    # The outputs that are half written must not stay.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_FAILURE))
    folder = Path(sys.argv[1])
    try:
        run(folder)
    except Exception as error:
        if not isinstance(error, ClientError):
            logger.exception("the transform job failed")
        write_failure(folder / runs.FAILURE, failure_text(error))
        sys.exit(EXIT_FAILURE)
    sys.exit(EXIT_OK)


if __name__ == "__main__":
    main()
