"""An endpoint of k-NN: a real serve process, whose workers are forked from one that has mapped the model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.algorithms.knn.jobs import batch, clusters, csv, job
from tests.runtime.serving import Server, children, request
from wildsage.algorithms.knn import KNN
from wildsage.algorithms.knn.hyperparameters import FLAT, IVF_FLAT
from wildsage.data.record import decode, frames
from wildsage.data.recordio import write_numpy_to_dense_tensor

ROWS, LABELS = clusters(500, 6)
QUERIES, _ = clusters(50, 6, seed=4)


@pytest.mark.parametrize("kind", [FLAT, IVF_FLAT])
def test_forked_workers_answer_in_every_form_with_one_thread_each(kind: str, tmp_path: Path) -> None:
    import io

    # This process answers with threads, and so must not be one that others are forked from.
    model = KNN().train(job(tmp_path / "job", {"train": csv(ROWS, LABELS)}, index_type=kind, threads=2))
    folder = tmp_path / "model"
    folder.mkdir()
    model.save(folder)
    wanted = model.answer(batch(QUERIES, None), {"verbose": "true"})
    predicted = [{"predicted_label": label} for label in wanted["predicted_label"].tolist()]
    body = csv(QUERIES).encode()
    with Server(tmp_path, site=tmp_path, algorithm="", workers=2) as server:
        assert "Serving knn on" in server.log()
        assert "workers load it themselves" not in server.log()
        for _ in range(4):  # both workers
            answer = server.ask(request(body, "text/csv"))
            assert answer.status == 200, answer
            assert answer.document == {"predictions": predicted}
        verbose = server.ask(request(body, "text/csv", Accept="application/json; verbose=true")).document["predictions"]
        assert list(verbose[0]) == ["predicted_label", "distances", "labels"]
        assert [row["labels"] for row in verbose] == wanted["labels"].tolist()
        np.testing.assert_allclose([row["distances"] for row in verbose], wanted["distances"], rtol=1e-6)
        lines = "".join(json.dumps({"features": row}) + "\n" for row in QUERIES.tolist()).encode()
        told = server.ask(request(lines, "application/jsonlines", Accept="application/jsonlines")).body
        assert [json.loads(line) for line in told.splitlines()] == predicted
        file = io.BytesIO()
        write_numpy_to_dense_tensor(file, QUERIES)
        kind_of_records = "application/x-recordio-protobuf"
        accept = f"{kind_of_records}; verbose=true"
        records = [
            decode(frame) for frame in frames(server.ask(request(file.getvalue(), kind_of_records, Accept=accept)).body)
        ]
        assert [record.label["labels"].values.tolist() for record in records] == wanted["labels"].tolist()
        refused = server.ask(request(b"1,2,3\n", "text/csv"))
        assert refused.status == 400
        for worker in children(server.zygote):
            assert len(list(Path(f"/proc/{worker}/task").iterdir())) == 1
