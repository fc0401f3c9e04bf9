"""CSV to float32: the bits of NumPy, and what is wrong with its place."""

from __future__ import annotations

from pathlib import Path

from wildsage.contract.channels import Channel
from wildsage.data.batch import Batch
from wildsage.data.readers import open_channel


def read(folder: Path, content: bytes, **options: object) -> list[Batch]:
    (folder / "train").mkdir(exist_ok=True)
    (folder / "train" / "a.csv").write_bytes(content)
    options = {"batch_rows": 3, **options}
    return [batch.copy() for batch in open_channel(Channel("train", folder / "train"), **options)]  # type: ignore[arg-type]


def test_labels_first(tmp_path: Path) -> None:
    first, second = read(tmp_path, b"1,2,3\n4,5,6\n7,8,9\n-1,0.5,1e3")
    assert first.features.tolist() == [[2, 3], [5, 6], [8, 9]]  # type: ignore[union-attr]
    assert first.labels is not None
    assert first.labels.tolist() == [1, 4, 7]
    assert second.features.tolist() == [[0.5, 1000]]  # type: ignore[union-attr]
    assert str(second.error(0, "no")) == "train/a.csv, line 4: no"
