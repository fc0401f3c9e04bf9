from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import json_values
from wildsage.contract.errors import ClientError
from wildsage.contract.resources import InstanceGroup, Resources, parse_resources, read_resources, write_resources


def test_the_contracts_form_is_read() -> None:
    text = '{"current_host":"algo-2","hosts":["algo-3","algo-1","algo-2"],"network_interface_name":"eth1"}'
    found = parse_resources(json.loads(text))
    assert (found.rank, found.world_size, found.network_interface_name) == (1, 3, "eth1")
    assert (found.group, found.group_hosts, found.is_heterogeneous) == ("homogeneousCluster", (), False)


def test_groups_are_read_and_written(tmp_path: Path) -> None:
    groups = (InstanceGroup("a", "ml.c5.xlarge", ("algo-1",)), InstanceGroup("b", "ml.p3.2xlarge", ("algo-2",)))
    resources = Resources("algo-2", ("algo-1", "algo-2"), "eth0", "ml.p3.2xlarge", "b", groups, ({"node": 1},))
    write_resources(tmp_path / "resourceconfig.json", resources)
    found = read_resources(tmp_path / "resourceconfig.json")
    assert found == resources
    assert (found.group_hosts, found.is_heterogeneous) == (("algo-2",), True)


def test_no_file_means_one_host(tmp_path: Path) -> None:
    found = read_resources(tmp_path / "resourceconfig.json")
    assert (found.current_host, found.rank, found.world_size) == ("algo-1", 0, 1)


def test_all_that_is_wrong_is_told_at_once() -> None:
    fields = {
        "current_host": "algo-9",
        "hosts": ["algo-1", "algo-1"],
        "current_instance_type": 3,
        "instance_groups": [{"instance_group_name": "a"}],
        "topology": "x",
    }
    with pytest.raises(ClientError) as caught:
        parse_resources(fields)
    told = str(caught.value).splitlines()
    assert len(told) == 5
    assert told[0].startswith('resourceconfig.json: current_host = "algo-9" is not allowed: one of the hosts, algo-1')


@given(
    st.dictionaries(
        st.sampled_from(["current_host", "hosts", "instance_groups", "current_group_name", "topology"]),
        json_values | st.lists(st.sampled_from(["algo-1", "algo-2"])) | st.just("algo-1"),
    )
)
def test_any_content_is_read_or_refused(fields: dict[str, Any]) -> None:
    try:
        found = parse_resources(fields)
    except ClientError:
        return
    assert 0 <= found.rank < found.world_size
