"""One sample by what a person calls it."""

import pytest

from selfseg.data.format.manifest import commit_manifest
from selfseg.data.reading.collection import Collection
from selfseg.data.reading.lookup import find_sample
from selfseg.errors import UsageError
from tests.exact_collection import write_collection
from tests.synthetic import moving_disc

SCENES = {"swan": moving_disc(7), "car_2": moving_disc(4, seed=5, pan=(1, 0))}


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("collection"))
    write_collection(folder, SCENES, with_masks=True)
    return Collection.open(folder)


@pytest.mark.parametrize("called", ["swan/3", "swan-00000000/3", "swan-00000000_00000003"])
def test_a_sample_is_found_by_its_key_by_its_videos_name_and_by_its_id(collection, called):
    assert collection.key(find_sample(collection, called)) == "swan-00000000_00000003"


@pytest.mark.parametrize(
    ("called", "message"),
    [
        ("swam/3", "holds no video swam; near it: swan"),
        ("swam-00000000_00000003", "holds no video swam-00000000; near it: swan-00000000"),
        ("zebra/3", "holds no video zebra; it begins with car_2"),
        ("swan/7", "swan has frames 0 to 6, not 7"),
        ("swan-00000000_00000099", "swan has frames 0 to 6, not 00000099"),
        ("swan", "swan says no frame; give it as in swan/0"),
        ("car_2", "car_2 says no frame; give it as in car_2/0"),
        ("swan/", "swan/ says no frame"),
        ("swan/-1", "swan/-1 says no frame"),
        ("7", "7 says no frame"),
    ],
)
def test_an_unknown_sample_is_refused_with_what_is_near(collection, called, message):
    with pytest.raises(UsageError) as error:
        find_sample(collection, called)
    assert str(error.value).startswith(f"{collection.url}: ")
    assert message in str(error.value)


def test_of_two_videos_of_one_name_the_ids_are_offered(tmp_path):
    manifest = write_collection(str(tmp_path), {"swan": moving_disc(2)}, shares=(1,))
    (video,) = manifest.videos
    twin = video.model_dump() | {"id": "swan-11111111"}
    both = manifest.override({"videos": [video.model_dump(), twin], "parent": manifest.id})
    commit_manifest(str(tmp_path), both, manifest.id)
    collection = Collection.open(str(tmp_path))
    with pytest.raises(UsageError, match=r"called swan; give one as swan-0{8}/0, swan-1{8}/0$"):
        find_sample(collection, "swan/0")
    assert find_sample(collection, "swan-00000000/0") == 0
