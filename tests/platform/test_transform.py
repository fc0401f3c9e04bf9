"""How files are cut into requests."""

from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wildsage.contract.errors import ClientError
from wildsage.platform.transform import RECORDIO_MAGIC, Plan, in_order, pack, split

REQUEST = {"TransformInput": {"SplitType": "Line"}, "TransformOutput": {}}
PLAN = replace(Plan.of(REQUEST, {}), payload_bytes=20)
RECORD = st.binary(min_size=1, max_size=20).filter(lambda raw: b"\n" not in raw and raw.strip() == raw)


def frame(payload: bytes) -> bytes:
    header = RECORDIO_MAGIC.to_bytes(4, "little") + len(payload).to_bytes(4, "little")
    return header + payload + bytes(-len(payload) % 4)


@given(records=st.lists(RECORD, max_size=12), single=st.booleans(), end=st.sampled_from([b"", b"\n", b"\r\n", b"\n\n"]))
def test_lines_come_back_in_order_and_no_request_is_too_large(records: list[bytes], single: bool, end: bytes) -> None:
    file = io.BytesIO(b"\n".join(records) + end)
    payloads = list(pack(split(file, "Line", "f"), replace(PLAN, single=single), "f"))
    assert [line for payload in payloads for line in payload.body.split(b"\n")] == records
    assert [source for payload in payloads for source in payload.sources] == records
    assert all(len(payload.body) <= 20 for payload in payloads)
    assert not single or len(payloads) == len(records)
    counted = 1
    for payload in payloads:
        assert payload.first == counted
        counted += len(payload.sources)


@given(st.lists(st.binary(max_size=9), max_size=6))
def test_recordio_frames_come_whole(payloads: list[bytes]) -> None:
    frames = list(map(frame, payloads))
    assert list(split(io.BytesIO(b"".join(frames)), "RecordIO", "f")) == frames


@given(st.binary(max_size=40))
def test_any_bytes_are_frames_or_a_client_error(raw: bytes) -> None:
    with suppress(ClientError):
        assert b"".join(split(io.BytesIO(raw), "RecordIO", "f")) == raw


def test_a_record_that_is_too_large_is_named() -> None:
    with pytest.raises(ClientError, match=r"f: record 2 has 21 bytes"):
        list(pack([b"a", b"b" * 21], PLAN, "f"))


def test_results_come_in_the_order_of_the_requests() -> None:
    payloads = list(pack([bytes([65 + n]) for n in range(20)], replace(PLAN, single=True), "f"))
    assert b"".join(in_order(lambda payload: payload.body, payloads, 4)) == bytes(range(65, 85))


def test_the_request_counts_before_the_servers_advice() -> None:
    advice = {"MaxConcurrentTransforms": 8, "BatchStrategy": "SINGLE_RECORD", "MaxPayloadInMB": 2}
    advised = Plan.of(REQUEST, advice)
    assert (advised.concurrency, advised.single, advised.payload_bytes) == (8, True, 2 << 20)
    asked = Plan.of(
        {**REQUEST, "MaxConcurrentTransforms": 2, "BatchStrategy": "MultiRecord", "MaxPayloadInMB": 1}, advice
    )
    assert (asked.concurrency, asked.single, asked.payload_bytes) == (2, False, 1 << 20)
