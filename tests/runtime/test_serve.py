"""The serve program as its users meet it: starting, stopping, losing workers."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from select import select

import pytest

from tests.runtime.serving import PING, Answer, Server, alive, children, environment, install, instances, request
from tests.waiting import until
from wildsage.contract.failure import EXIT_FAILURE, EXIT_FINAL


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("algorithms"))


@pytest.fixture
def server(tmp_path: Path, site: Path) -> Iterator[Server]:
    with Server(tmp_path, site=site) as running:
        yield running


def labels(answer: Answer) -> list[str]:
    assert answer.status == 200, answer
    return [each["label"][0] for each in answer.document]


def test_serves_pings_and_invocations(server: Server) -> None:
    with server.client() as client:
        ping = client.ask(PING)
        assert (ping.status, ping.body) == (200, b"")
        answer = client.ask(request(instances("one", "two", k=2)))
        assert answer.document == [{"label": ["one"], "prob": [1.0], "k": 2}, {"label": ["two"], "prob": [1.0], "k": 2}]
        parameters = client.ask(request(method="GET", path="/execution-parameters"))
        assert parameters.document == {
            "MaxConcurrentTransforms": 2,
            "BatchStrategy": "MULTI_RECORD",
            "MaxPayloadInMB": 6,
        }
    assert re.search(r"Serving obedient on http://127\.0\.0\.1:\d+ with 2 workers \(model ready in", server.log())


def test_recognises_the_model_folder(tmp_path: Path, site: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "obedient").touch()
    with Server(tmp_path, site=site, algorithm="", workers=1) as server:
        assert labels(server.ask(request(instances("one")))) == ["one"]
        assert "Serving obedient on" in server.log()


def test_binds_its_own_port(tmp_path: Path, site: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (tmp_path / "ml" / "model").mkdir(parents=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "wildsage.runtime.serve", "--algorithm", "obedient"],
        env=environment(
            site,
            SAGEMAKER_BIND_TO_PORT=str(port),
            SAGEMAKER_BASE_DIR=str(tmp_path / "ml"),
            SAGEMAKER_MODEL_SERVER_WORKERS="1",
        ),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        assert f"Serving obedient on http://127.0.0.1:{port} with 1 worker (" in line
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert process.returncode == 0


def test_a_port_in_use_is_named(tmp_path: Path, site: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", "wildsage.runtime.serve", "--model", str(tmp_path), "--port", port],
            env=environment(site),
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith(f"ClientError: cannot listen on 127.0.0.1:{port}: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("order", "algorithm", "last_line"),
    [
        ("refuse", "obedient", r"ClientError: .*order: not a model; at all"),
        (
            "fault",
            "obedient",
            r"AlgorithmError: an unexpected error, ValueError: a broken loader; its traceback is on the log",
        ),
        ("crash", "obedient", r"InternalServerError: the process that loads the model ended \(exit code 7\) before .*"),
        ("refuse", "lonely", r"ClientError: .*order: not a model; at all"),
        ("crash", "lonely", r"InternalServerError: workers end \(exit code 7\) before they have loaded the model"),
        ("fine", "obedeint", r"ClientError: .*obedeint.*obedient.*"),
        ("fine", "", r"ClientError: .*holds the model of no algorithm.*"),
    ],
)
def test_a_model_that_cannot_be_loaded_ends_it_with_the_reason(
    tmp_path: Path, site: Path, order: str, algorithm: str, last_line: str
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "order").write_text(order)
    with Server(tmp_path, site=site, algorithm=algorithm, ready=False) as server:
        wanted = EXIT_FINAL if last_line.startswith("ClientError") else EXIT_FAILURE
        assert server.process.wait(20) == wanted
        assert re.fullmatch(last_line, server.log().splitlines()[-1]), server.log()
        if last_line.startswith("ClientError"):
            assert "Traceback" not in server.log()


def test_a_missing_folder_is_named(tmp_path: Path, site: Path) -> None:
    with Server(tmp_path, "--model", str(tmp_path / "none"), site=site, ready=False) as server:
        assert server.process.wait(20) == EXIT_FINAL
        assert server.log() == f"ClientError: there is no model folder {tmp_path / 'none'}\n"


def test_a_model_that_cannot_be_forked_is_loaded_by_each_worker(tmp_path: Path, site: Path) -> None:
    with Server(tmp_path, site=site, algorithm="lonely") as server:
        assert labels(server.ask(request(instances("one")))) == ["one"]
        until(lambda: len(server.workers) == 2)
        victim = int(labels(server.ask(request(instances("pid"))))[0])
        os.kill(victim, signal.SIGKILL)
        assert labels(server.ask(request(instances("two")))) == ["two"]
        until(lambda: f"Worker {victim} ended (SIGKILL)" in server.log() and "after the loss" in server.log())


def test_no_request_is_lost_when_workers_are_killed(server: Server) -> None:
    wrong: list[object] = []
    rounds, clients = 60, 8

    def ask(number: int) -> None:
        with server.client() as client:
            for turn in range(rounds):
                text = f"sleep 0.00{1 + turn % 5}" if turn % 3 else f"{number} {turn}"
                answer = client.ask(request(instances(text)))
                if answer.status != 200 or answer.document[0]["label"] != [text]:
                    wrong.append(answer)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    kills = 0
    while any(thread.is_alive() for thread in threads):
        for pid in server.workers[:1]:
            os.kill(pid, signal.SIGKILL)
            kills += 1
        until(lambda: len(server.workers) == 2, what="a replacement")
    for thread in threads:
        thread.join()
    assert not wrong
    assert kills > 1
    until(lambda: server.log().count("ended (SIGKILL)") >= kills)


def test_a_request_that_kills_its_workers_is_refused_and_others_live(server: Server) -> None:
    answers: dict[str, Answer] = {}

    def ask(text: str) -> None:
        answers[text] = server.ask(request(instances(text)))

    texts = ["crash", *(f"text {number}" for number in range(10))]
    threads = [threading.Thread(target=ask, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    poison = answers.pop("crash")
    assert poison.status == 500
    told = re.fullmatch(r"a worker ended each of the ([34]) times that it answered this request", poison.message)
    assert told
    assert all(labels(answer) == [text] for text, answer in answers.items())
    until(lambda: server.log().count("ended (exit code 9)") == int(told[1]))
    assert server.ask(PING).status == 200


def test_a_request_whose_worker_died_once_is_answered(server: Server, tmp_path: Path) -> None:
    text = f"crash-once {tmp_path / 'mark'}"
    assert labels(server.ask(request(instances(text)))) == [text]


def test_workers_that_die_one_after_the_other_do_not_stop_it(tmp_path: Path, site: Path) -> None:
    with Server(tmp_path, site=site, workers=1) as server:
        for _ in range(3):
            assert server.ask(request(instances("crash"))).status == 500
        assert labels(server.ask(request(instances("fine")))) == ["fine"]


def test_a_worker_over_the_time_limit_is_killed(tmp_path: Path, site: Path) -> None:
    with Server(tmp_path, site=site, SAGEMAKER_MODEL_SERVER_TIMEOUT="1") as server:
        answer = server.ask(request(instances("sleep 600")))
        assert answer.status == 500
        assert answer.message == "the model took longer than 1 s, and was stopped"
        assert labels(server.ask(request(instances("fine")))) == ["fine"]
        until(lambda: "ended (SIGKILL)" in server.log())


@pytest.mark.parametrize("type_", ["application/json", "text/csv"])
def test_a_request_of_many_instances_keeps_nobody_waiting(tmp_path: Path, site: Path, type_: str) -> None:
    go = tmp_path / "go"
    texts = [f"await {go}", *["sleep 0.002"] * 499, "the last"]
    body = instances(*texts) if type_ == "application/json" else "\n".join(texts).encode()
    with Server(tmp_path, site=site, workers=1) as server, server.client() as long, server.client() as short:
        long.send(request(body, type_))
        until(Path(f"{go}.begun").exists)
        short.send(request(instances("short")))
        go.touch()
        answer = short.receive()
        assert answer is not None
        assert labels(answer) == ["short"]
        assert not select([long.socket], [], [], 0)[0], "the long request came first"
        answer = long.receive()
        assert answer is not None
        assert labels(answer) == texts


def test_a_bad_instance_among_many_is_numbered_from_the_first(server: Server) -> None:
    answer = server.ask(request(instances(*["sleep 0.0005"] * 299, 7, *["x"] * 100)))
    assert (answer.status, answer.message) == (400, "instance 299 is not a text")


def test_a_worker_that_dies_over_many_instances_is_replaced(tmp_path: Path, site: Path) -> None:
    texts = [*["sleep 0.001"] * 99, f"crash-once {tmp_path / 'mark'}"]
    with Server(tmp_path, site=site, workers=1) as server:
        assert labels(server.ask(request(instances(*texts)))) == texts
        assert server.ask(request(instances(*texts, "crash"))).status == 500
        assert labels(server.ask(request(instances("fine")))) == ["fine"]


def test_many_instances_over_the_time_limit_end_that_request_alone(tmp_path: Path, site: Path) -> None:
    with Server(tmp_path, site=site, workers=1, SAGEMAKER_MODEL_SERVER_TIMEOUT="1") as server:
        answer = server.ask(request(instances(*["sleep 0.01"] * 600)))
        assert (answer.status, answer.message) == (500, "the model took longer than 1 s, and was stopped")
        assert labels(server.ask(request(instances("fine")))) == ["fine"]


def test_a_dead_zygote_is_replaced(server: Server) -> None:
    first, workers = server.zygote, server.workers
    os.kill(first, signal.SIGKILL)
    assert labels(server.ask(request(instances("one")))) == ["one"]
    until(lambda: server.zygote != first and "another loads it" in server.log())
    for pid in workers:  # of the dead zygote; their successors are the new one's
        os.kill(pid, signal.SIGKILL)
    # Else the request may be given to one after the other while they die, and be held to have killed them.
    until(lambda: not any(alive(pid) for pid in workers))
    assert labels(server.ask(request(instances("two")))) == ["two"]
    until(lambda: len(server.workers) == 2)


def test_everything_ends_with_a_killed_front(tmp_path: Path, site: Path) -> None:
    with Server(tmp_path, site=site) as server:
        zygote = server.zygote
        workers = until(lambda: children(zygote))
        server.process.kill()
        server.process.wait()
        until(lambda: not any(alive(pid) for pid in [zygote, *workers]), what="the end of zygote and workers")


def test_drains_at_sigterm(tmp_path: Path, site: Path) -> None:
    go = tmp_path / "go"
    with Server(tmp_path, site=site) as server, server.client() as busy, server.client() as idle:
        assert idle.ask(PING).status == 200
        busy.send(request(instances(f"await {go}")))
        until(lambda: Path(f"{go}.begun").exists())
        family = [server.zygote, *server.workers]
        server.process.send_signal(signal.SIGTERM)
        until(lambda: "Stopping" in server.log())
        assert idle.receive() is None  # closed, having nothing to wait for
        assert server.process.poll() is None
        go.touch()
        answer = busy.receive()
        assert answer is not None
        assert answer.status == 200
        assert answer.headers["connection"] == "close"
        assert busy.receive() is None
        assert server.process.wait(20) == 0
        assert not any(alive(pid) for pid in family)


def test_servers_take_turns_on_one_socket(tmp_path: Path, site: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        with Server(tmp_path, site=site, workers=1, listener=listener) as first:
            old = labels(first.ask(request(instances("pid"))))
            with Server(tmp_path, site=site, workers=1, listener=listener) as second:
                first.process.send_signal(signal.SIGTERM)
                assert first.process.wait(20) == 0
                new = labels(second.ask(request(instances("pid"))))
                assert new != old
        # Nobody accepts now, but the socket lives: this connection waits for the next server.
        with socket.create_connection(listener.getsockname(), timeout=20) as waiting:
            waiting.sendall(request(instances("late")))
            with Server(tmp_path, site=site, workers=1, listener=listener):
                assert b"late" in waiting.recv(4096)


def test_ping_says_no_until_the_model_is_loaded(tmp_path: Path, site: Path) -> None:
    with Server(tmp_path, site=site, ready=False) as server, server.client() as client:
        assert client.ask(PING).status in (200, 503)
        # A request that is early waits for the model.
        assert labels(client.ask(request(instances("early")))) == ["early"]
        assert client.ask(PING).status == 200


def test_sigstopped_loading_is_not_ready(tmp_path: Path, site: Path) -> None:
    with Server(tmp_path, site=site, ready=False, SAGEMAKER_STARTUP_TIMEOUT="1") as server:
        zygote = server.zygote
        os.kill(zygote, signal.SIGSTOP)
        if "Serving" in server.log():
            os.kill(zygote, signal.SIGCONT)
            pytest.skip("the model was loaded before it could be stopped")
        answer = server.ask(PING)
        assert (answer.status, answer.message) == (503, "the model is being loaded")
        assert server.process.wait(20) == 1
        assert server.log().endswith("AlgorithmError: the model was not ready within 1 s\n")


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_serves_on_either_event_loop(tmp_path: Path, site: Path, loop: str) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    variables = {}
    if loop == "asyncio":
        (hidden / "uvloop.py").write_text("raise ImportError('hidden')\n")
        variables["PYTHONPATH"] = environment(site)["PYTHONPATH"].replace(str(site), f"{hidden}{os.pathsep}{site}")
    with Server(tmp_path, site=site, **variables) as server, server.client() as client:
        assert labels(client.ask(request(instances("one")))) == ["one"]
        text = "y" * 3_000_000
        assert labels(client.ask(request(instances(text)))) == [text]
        client.send(request(instances("two")) + request(instances("three")))
        assert [labels(answer) for answer in (client.receive(), client.receive()) if answer] == [["two"], ["three"]]
        assert client.ask(b"nonsense\r\n\r\n").status == 400
        assert client.receive() is None


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"SAGEMAKER_BIND_TO_PORT": "http"}, "SAGEMAKER_BIND_TO_PORT=http"),
        ({"SAGEMAKER_BIND_TO_PORT": "99999"}, "port 99999"),
        ({"SAGEMAKER_MODEL_SERVER_WORKERS": "0"}, "0 workers"),
        ({"WILDSAGE_LISTEN_FD": "0"}, "cannot listen"),
    ],
)
def test_bad_settings_are_named(site: Path, variables: dict[str, str], named: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "wildsage.runtime.serve"],
        env=environment(site, **variables),
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode != 0
    assert named in done.stderr
    assert re.fullmatch(r"ClientError: .*\n", done.stderr)


def test_the_front_loads_no_numerics() -> None:
    code = (
        "import json, sys; import wildsage.runtime.serve, wildsage.runtime.server;"
        "print(json.dumps([name for name in ('numpy', 'numba', 'pydantic', 'msgspec') if name in sys.modules]))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], env=environment(Path()), capture_output=True, text=True, check=True
    )
    assert json.loads(found.stdout) == []
