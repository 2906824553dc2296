"""One shard opened for reading: its index, and its file kept open."""

import numpy as np

from selfseg import storage
from selfseg.data.format.index import IndexEntry, Span

ABSENT = -1


class Shard:
    """Samples of one shard by their rows, counted from 0 in the tar's order.

    url: where its bytes are read
    """

    def __init__(self, url: str, entries: list[IndexEntry]) -> None:
        """Open the shard at `url`, in which `entries` say where everything lies.

        Raises:
            StorageError: there is no such file.
        """
        self.url = url
        self._file = storage.opened(url)
        parts = sorted({part for entry in entries for part in entry.parts})
        self._columns = {part: column for column, part in enumerate(parts)}
        # Rows of numbers, not objects: a process keeps many shards at hand.
        absent = Span(ABSENT, 0, 0)
        spans = [entry.parts.get(part, absent) for entry in entries for part in parts]
        flat = [number for span in spans for number in (span.offset, span.size, span.crc32)]
        self._spans = np.array(flat, dtype=np.int64).reshape(len(entries), len(parts), 3)

    def removed(self) -> bool:
        """Tell whether the file was removed since it was opened; it can be read on."""
        return self._file.removed()

    def span(self, row: int, part: str) -> Span | None:
        """Return where a part of a sample lies; None: the sample has none of this name."""
        column = self._columns.get(part)
        if column is None:
            return None
        numbers = self._spans[row, column].tolist()
        return None if numbers[0] == ABSENT else Span(*numbers)

    def parts(self, row: int) -> dict[str, Span]:
        """Return where each part of a sample lies, by name."""
        spans = {part: self.span(row, part) for part in self._columns}
        return {part: span for part, span in spans.items() if span}

    def read(self, span: Span) -> bytes:
        """Return these bytes.

        Raises:
            StorageError: the file ends before, or cannot be read.
        """
        return self._file.read(span.offset, span.size)
