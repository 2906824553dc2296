"""A sweep reads one state of a collection, however it grows."""

import pytest

from selfseg.data.format.manifest import newest_id
from selfseg.data.reading.collection import Collection
from selfseg.errors import UsageError
from selfseg.sweep.pinned import pin, pinned
from tests.exact_collection import write_collection
from tests.synthetic import moving_disc


def test_a_sweep_goes_on_with_the_state_that_it_began_with(tmp_path):
    collection, output, other = (str(tmp_path / name) for name in ("videos", "sweep", "other"))
    scenes = {"swan": moving_disc(3)}
    write_collection(collection, scenes)
    first = newest_id(collection)
    assert first is not None
    begun = pinned(collection, output)
    assert begun == f"{collection}@{first[:16]}"
    pin(Collection.open(begun), output)

    write_collection(collection, scenes | {"car": moving_disc(3, seed=5)})
    newest = newest_id(collection)
    assert newest not in (None, first)
    assert pinned(collection, output) == begun
    assert pinned(begun, output) == begun
    assert pinned(collection, other) == f"{collection}@{newest[:16]}"
    with pytest.raises(UsageError, match=rf"began with manifest {first[:16]}: name that one"):
        pinned(f"{collection}@{newest[:16]}", output)
