"""Hypothesis strategies that several tests share."""

from __future__ import annotations

import string

from hypothesis import strategies as st

from wildsage.contract.channels import Channel, Distribution, InputMode
from wildsage.contract.layout import Layout
from wildsage.contract.metrics import MetricRecord

LETTERS = string.ascii_letters + string.digits

# Any value that JSON can hold.
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)

# Alphabets, not regexes: those take ten times as long to draw from.
channel_names = st.builds(str.__add__, st.sampled_from(LETTERS + "_-"), st.text(LETTERS + "._-", max_size=20))

tokens = st.from_regex(r"[a-z0-9!#$&^_.+-]{1,12}", fullmatch=True)

content_type_texts = st.builds(
    lambda main, sub, parameters: "; ".join(
        [f"{main}/{sub}", *(f'{key}="{value}"' for key, value in parameters.items())]
    ),
    tokens,
    tokens,
    st.dictionaries(tokens.filter(lambda name: name != "q"), st.from_regex(r"[a-z0-9 ,;=]{0,8}", fullmatch=True)),
)

metric_records = st.builds(
    MetricRecord,
    name=st.text(min_size=1),
    value=st.floats(allow_nan=False, allow_infinity=False),
    timestamp=st.floats(0, 1e11),
    epoch=st.none() | st.integers(0, 1000),
)


def channels(layout: Layout) -> st.SearchStrategy[list[Channel]]:
    """Channels below a layout, each with a name of its own."""
    one = st.builds(
        lambda name, content_type, mode, distribution, wrapper: Channel(
            name, layout.channel(name), content_type, mode, distribution, wrapper
        ),
        channel_names.filter(lambda name: name != "val"),
        st.none() | st.text(),
        st.sampled_from(InputMode),
        st.sampled_from(Distribution),
        st.sampled_from([None, "RecordIO"]),
    )
    return st.lists(one, max_size=5, unique_by=lambda channel: channel.name)
