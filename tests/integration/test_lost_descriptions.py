"""A catalogue or a background that is damaged or gone where the collection lies."""

import pytest

from selfseg import storage
from selfseg.data.format.manifest import background_url, catalogue_url
from selfseg.data.reading.cache import cache_folder
from selfseg.data.reading.collection import Collection
from selfseg.data.reading.objects import REMEDY
from selfseg.errors import UserError
from tests.catalogued import add_catalogue
from tests.exact_collection import write_collection
from tests.synthetic import moving_disc
from tools.collection import main

SCENES = {"swan": moving_disc(7), "car": moving_disc(5, seed=5)}


@pytest.fixture
def url(place: str, tmp_path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Write a collection, of which nothing is in the cache."""
    monkeypatch.setenv("SELFSEG_CACHE", str(tmp_path / "cache"))
    write_collection(f"{place}/c", SCENES, with_backgrounds=True)
    return f"{place}/c"


def lose(url: str, *, gone: bool) -> None:
    """Delete an object, or flip a bit of it; nothing of it is left in the cache."""
    if gone:
        storage.delete(url)
    else:
        content = storage.read(url)
        storage.write(url, content[:9] + bytes([content[9] ^ 1]) + content[10:])
    storage.delete_tree(str(cache_folder()))


def samples_of(url: str) -> list[tuple[str, dict[str, bytes]]]:
    collection = Collection.open(url)
    records = [collection.record(ordinal) for ordinal in range(len(collection))]
    return [(each.key, {part: each.read(part) for part in each.parts}) for each in records]


@pytest.mark.parametrize("gone", [False, True])
def test_without_a_catalogue_the_same_samples_come_in_the_same_order(url, gone, capsys):
    (sha256,) = add_catalogue(url).catalogues
    whole = samples_of(url)
    assert capsys.readouterr().err == ""
    catalogue = catalogue_url(url, sha256)
    lose(catalogue, gone=gone)
    assert samples_of(url) == whole
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{catalogue}: ")
    assert line.endswith(f"; {REMEDY}; until then the index of each shard is read instead")
    main(["verify", url, "--repair"])
    assert "made anew from the indexes" in capsys.readouterr().out
    assert samples_of(url) == whole
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("gone", [False, True])
def test_a_background_is_named_with_the_remedy(url, gone):
    collection = Collection.open(url)
    sha256 = collection.manifest.videos[0].background
    assert sha256
    background = background_url(url, sha256)
    lose(background, gone=gone)
    with pytest.raises(UserError) as caught:
        collection.background(collection.videos[collection.manifest.videos[0].name][0])
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{background}: ")
    assert line.endswith(REMEDY)
