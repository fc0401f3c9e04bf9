"""A real serve process with a small algorithm of the tests' own, and raw sockets to speak to it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from tests.waiting import until

# What a text says is what the model does.
ALGORITHM = """
import os
import time
from pathlib import Path

from wildsage.algorithms.base import Algorithm, Model
from wildsage.contract.errors import ClientError, DataError
from wildsage.contract.hyperparameters import Hyperparameters

class Obedient(Model):
    request_types = ("application/json", "application/jsonlines", "text/csv", "text/plain")

    def save(self, folder): raise NotImplementedError

    @classmethod
    def load(cls, folder):
        order = folder / "order"
        if order.exists():
            what = order.read_text()
            if what == "refuse":
                raise DataError("not a model\\nat all", file=folder / "order")
            if what == "fault":
                raise ValueError("a broken loader")
            if what == "crash":
                os._exit(7)
        return cls()

    @classmethod
    def recognises(cls, folder):
        return (folder / "obedient").exists()

    def predict(self, instances, options):
        pairs = zip(instances, options, strict=True)
        return [self.obey(number, text, each) for number, (text, each) in enumerate(pairs)]

    def obey(self, number, text, options):
        if not isinstance(text, str):
            raise ClientError(f"instance {number} is not a text")
        word, _, rest = text.partition(" ")
        if word == "sleep":
            time.sleep(float(rest))
        elif word == "crash":
            os._exit(9)
        elif word == "crash-once":
            if not Path(rest).exists():
                Path(rest).touch()
                os._exit(9)
        elif word == "fault":
            raise KeyError("a broken model")
        elif word == "await":
            Path(rest + ".begun").touch()
            while not Path(rest).exists():
                time.sleep(0.002)
        elif word == "nan":
            return {"label": [text], "prob": [float("nan")], **options}
        elif word == "pid":
            return {"label": [str(os.getpid())], "prob": [1.0], **options}
        elif word == "long":
            return {"label": ["x" * int(rest)], "prob": [1.0], **options}
        return {"label": [text], "prob": [1.0], **options}

class ObedientAlgorithm(Algorithm):
    name, model, hyperparameters = "obedient", Obedient, Hyperparameters
    def estimate_memory(self, context): raise NotImplementedError
    def train(self, context): raise NotImplementedError

class Lonely(Obedient):
    fork_safe = False

    @classmethod
    def recognises(cls, folder):
        return False

class LonelyAlgorithm(ObedientAlgorithm):
    name, model = "lonely", Lonely
"""


def install(folder: Path) -> Path:
    """Lay the algorithms down as an installed package below `folder`; returns what to put on the path."""
    site = folder / "site"
    info = site / "obedient-1.dist-info"
    info.mkdir(parents=True)
    (site / "obedient.py").write_text(ALGORITHM)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: obedient\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[wildsage.algorithms]\nobedient = obedient:ObedientAlgorithm\nlonely = obedient:LonelyAlgorithm\n"
        "measuring = measuring:MeasuringAlgorithm\n"
    )
    shutil.copy(Path(__file__).parents[1] / "assets" / "measuring.py", site)
    return site


def environment(site: Path, **more: str) -> dict[str, str]:
    """This process's environment with the algorithms on the path, and nothing of the container contract's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SAGEMAKER_", "WILDSAGE_"))}
    source = str(Path(__file__).parents[2] / "src")
    kept["PYTHONPATH"] = os.pathsep.join([source, str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**kept, **more}


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        """The reason of a refusal; asserts the one form that it has."""
        assert self.headers["content-type"] == "application/json"
        document = self.document
        assert list(document) == ["message"]
        assert isinstance(document["message"], str)
        return str(document["message"])


class Client:
    """A raw connection."""

    def __init__(self, address: tuple[str, int], timeout_s: float = 20.0) -> None:
        self.socket = socket.create_connection(address, timeout=timeout_s)
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def receive(self, head_only: bool = False) -> Answer | None:
        """The next answer, or None where the server has closed."""
        while b"\r\n\r\n" not in self._rest:
            if not self._more():
                assert not self._rest, f"half an answer: {self._rest[:200]!r}"
                return None
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        assert re.fullmatch(r"HTTP/1\.1 \d{3} [\w -]*", first), first
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        status = int(first.split()[1])
        size = 0 if head_only or status in (100, 204) else int(headers["content-length"])
        while len(self._rest) < size:
            assert self._more(), "the connection ended within an answer"
        body, self._rest = self._rest[:size], self._rest[size:]
        return Answer(status, headers, body)

    def _more(self) -> bool:
        try:
            data = self.socket.recv(262144)
        except ConnectionResetError:
            return False
        self._rest += data
        return bool(data)

    def ask(self, data: bytes) -> Answer:
        self.send(data)
        answer = self.receive()
        assert answer is not None, "closed without an answer"
        return answer


def request(
    body: bytes = b"",
    content_type: str = "application/json",
    *,
    method: str = "POST",
    path: str = "/invocations",
    **headers: str,
) -> bytes:
    """The bytes of one request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    if body or method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    if content_type:
        lines.append(f"Content-Type: {content_type}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def instances(*texts: Any, **configuration: Any) -> bytes:
    """A JSON body."""
    return json.dumps(
        {"instances": list(texts), **({"configuration": configuration} if configuration else {})}
    ).encode()


PING = request(method="GET", path="/ping", content_type="")


class Server:
    """A serve process, ended with the block."""

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        site: Path,
        algorithm: str = "obedient",
        workers: int = 2,
        listener: socket.socket | None = None,
        ready: bool = True,
        **variables: str,
    ) -> None:
        self.log_path = folder / f"log-{time.monotonic_ns()}"
        model = folder / "model"
        model.mkdir(exist_ok=True)
        self.listener = listener or socket.create_server(("127.0.0.1", 0), backlog=128)
        self._owns_listener = listener is None
        self.address: tuple[str, int] = self.listener.getsockname()
        descriptor = self.listener.fileno()
        command = [sys.executable, "-m", "wildsage.runtime.serve", "--model", str(model), "--workers", str(workers)]
        if algorithm:
            command += ["--algorithm", algorithm]
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, *arguments],
                env=environment(site, WILDSAGE_LISTEN_FD=str(descriptor), **variables),
                pass_fds=[descriptor],
                stdout=log,
                stderr=log,
            )
        self._ready = ready

    def __enter__(self) -> Self:
        if self._ready:
            try:
                until(lambda: "Serving" in self.log() or self.process.poll() is not None, what="the server's start")
                assert self.process.poll() is None, self.log()
            except BaseException:
                self.__exit__(None, None, None)
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self._owns_listener:
            self.listener.close()

    def log(self) -> str:
        return self.log_path.read_text()

    def client(self) -> Client:
        return Client(self.address)

    def ask(self, data: bytes) -> Answer:
        """Ask over a connection of its own."""
        with self.client() as client:
            return client.ask(data)

    @property
    def zygote(self) -> int:
        """The process that the workers are forked from."""
        return until(lambda: children(self.process.pid), what="a zygote")[0]

    @property
    def workers(self) -> list[int]:
        return children(self.zygote)


def children(pid: int) -> list[int]:
    """Process ids of a process's children."""
    found = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True).stdout
    rows = (line.split() for line in found.splitlines())
    return [int(child) for child, parent, state in rows if int(parent) == pid and not state.startswith("Z")]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return not stat.parent.parent.exists()
