"""A real server of a row model: every form over HTTP, alone and together."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.runtime.serving import Answer, Server, install, request
from tests.runtime.test_predict import predict
from tests.runtime.test_rows import bodies, values
from wildsage.contract.content_types import CSV, JSON, JSON_LINES, RECORDIO_PROTOBUF

FORMS = (CSV, JSON, JSON_LINES, RECORDIO_PROTOBUF)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("algorithms"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, site: Path) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server"), site=site, algorithm="measuring", workers=1) as running:
        yield running


def test_every_form_of_request_and_answer(server: Server) -> None:
    rows = np.array([[0.5, 1, 2, 3], [4, 0, 0, 0.25]], np.float32)
    with server.client() as client:
        for content_type, forms in bodies(rows).items():
            for body in forms:
                for accept in FORMS:
                    answer = client.ask(request(body, content_type, Accept=accept))
                    assert (answer.status, answer.headers["content-type"]) == (200, accept), answer
                    assert values(answer.body, accept) == [[6.5, 3], [4.25, 0]]


def test_accepts_parameters_reach_the_model(server: Server) -> None:
    answer = server.ask(request(b"1,2,3,4\n", CSV, Accept="application/json; verbose=true"))
    assert answer.body == b'{"predictions":[{"total":10.0,"largest":3,"tenths":[0.1,0.2,0.3,0.4]}]}'
    refused = server.ask(request(b"1,2,3,4\n", CSV, Accept="application/json; loud=true"))
    assert (refused.status, refused.message) == (400, "loud is no option of this model; there is verbose")


def test_what_is_wrong_is_said_with_its_place(server: Server) -> None:
    for status, body, content_type, told in (
        (400, b"1,2,3,4\n1,2,3\n", CSV, "the request, line 2: 3 columns, but the model takes 4"),
        (400, b"1,2,3,4\n1,2,3,13\n", CSV, "the request, line 2, column 4: 13 is not allowed"),
        (400, b'{"instances": [[1, 2, 3, 13]]}', JSON, "instance 0, column 4: 13 is not allowed"),
        (415, b"x", "image/png", None),
    ):
        answer = server.ask(request(body, content_type))
        assert answer.status == status
        assert told in (answer.message, None)


def test_a_bad_request_among_others_fails_alone(server: Server) -> None:
    bad = request(b"1,2,3,13", CSV)
    good = request(b'{"instances": [[1, 2, 3, 4]]}', JSON)
    with server.client() as client:
        client.send(good + bad + good)
        statuses = [answer.status for answer in (client.receive(), client.receive(), client.receive()) if answer]
    assert statuses == [200, 400, 200]


def test_many_rows_and_many_clients_at_once(server: Server) -> None:
    rows = np.arange(40_000, dtype=np.float32).reshape(-1, 4) / 8
    rows[rows == 13] = 0
    body = bodies(rows[:1])[CSV][0]
    found: list[Answer] = []

    def ask() -> None:
        with server.client() as client:
            found.extend(client.ask(request(body, CSV, Accept=CSV)) for _ in range(20))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    large = server.ask(request(bodies(rows)[RECORDIO_PROTOBUF][0], RECORDIO_PROTOBUF, Accept=JSON))
    for thread in threads:
        thread.join()
    totals = [row["total"] for row in json.loads(large.body)["predictions"]]
    np.testing.assert_array_equal(np.array(totals, np.float32), rows.sum(axis=1))
    assert {answer.body for answer in found} == {b"0.75,3\n"}
    assert len(found) == 160
    middle = rows.copy()
    middle[7777, 1] = 13
    refused = server.ask(request(bodies(middle)[JSON][0], JSON))
    assert (refused.status, refused.message) == (400, "instance 7777, column 2: 13 is not allowed")


def test_predict_without_a_server(site: Path, tmp_path: Path) -> None:
    (tmp_path / "width").write_text("2")
    done = predict(site, tmp_path, b"1,2\n", "--algorithm", "measuring", "--accept", "application/json; verbose=true")
    assert done.stdout == b'{"predictions":[{"total":3.0,"largest":1,"tenths":[0.1,0.2]}]}'
    done = predict(site, tmp_path, b"1,2\n1\n", "--algorithm", "measuring")
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"ClientError: the request, line 2: 1 columns, but the model takes 2\n"
    assert predict(site, tmp_path, b'{"instances": []}', "--algorithm", "measuring").stdout == b'{"predictions":[]}'
