import pytest

from selfseg.data.format.index import IndexEntry, Span, dump_index, parse_index

ENTRIES = [
    IndexEntry(
        "v-0_00000000", {"image.jpg": Span(512, 9, 7), "meta.json": Span(1536, 2, 2**32 - 1)}
    ),
    IndexEntry("v-0_00000001", {"image.jpg": Span(2560, 0, 0)}),
]


def test_an_index_is_read_as_it_was_written_a_line_for_each_sample():
    data = dump_index(ENTRIES)
    assert parse_index(data) == ENTRIES
    assert len(data.splitlines()) == len(ENTRIES)
    assert dump_index([]) == b""


@pytest.mark.parametrize(
    "data", [b"not json\n", b"[]\n", b'{"key": "a"}\n', b'{"key": "a", "parts": {"b": [1]}}\n']
)
def test_what_is_no_index_is_a_value_error(data):
    with pytest.raises(ValueError, match="not a shard's index"):
        parse_index(data)
