"""What is new to a collection, what may be added to it, and what stays when it has grown."""

import os
import time
from pathlib import Path

import pytest

from selfseg import storage
from selfseg.data.format.manifest import (
    Manifest,
    ShardEntry,
    SkippedEntry,
    VideoEntry,
    background_url,
    commit_manifest,
    find_collection,
    index_url,
    load_manifest,
    manifest_url,
    newest_id,
    resolve,
    shard_url,
)
from selfseg.data.format.settings import IngestSettings
from selfseg.data.ingest import writing
from selfseg.data.ingest.growing import grown, new_videos, newly_skipped, require_alike
from selfseg.data.ingest.sources import PROCESS_ENDED, SourceVideo
from selfseg.data.ingest.spooling import spool_url, unspool
from selfseg.data.ingest.writing import ABANDONED_S, commit, sweep
from selfseg.data.reading.collection import Collection
from selfseg.errors import UsageError, UserError
from tests.exact_collection import write_collection
from tests.synthetic import moving_disc

MEGABYTE = 10**6

PARENT = "f" * 64


def entry(name: str, masks: str | None = None, **about: object) -> VideoEntry:
    known = {"id": f"{name}-0", "name": name, "frames": 2, "sha256": f"sha of {name}"}
    return VideoEntry.parse({**known, "masks_sha256": masks, **about}, origin="test")


def source(name: str, masks: str | None = None, *, content: str | None = None) -> SourceVideo:
    return SourceVideo(Path(name), name, 2, f"sha of {content or name}", None, masks)


def skipped(name: str, masks: str | None = None, *, reason: str = "torn") -> SkippedEntry:
    return SkippedEntry(name=name, sha256=f"sha of {name}", masks_sha256=masks, reason=reason)


def shard(name: str) -> ShardEntry:
    return ShardEntry(name=name * 16, samples=2, size=1, sha256=name * 64, index_sha256="0" * 64)


def manifest(*videos: VideoEntry, **parts: object) -> Manifest:
    tree = {
        "settings": IngestSettings(),
        "shard_bytes": MEGABYTE,
        "videos": videos,
        "skipped": (),
        "shards": (),
        **parts,
    }
    return Manifest.model_validate(tree)


def names_of(videos: list[SourceVideo]) -> list[str]:
    return [video.name for video in videos]


def test_a_video_is_new_by_its_content_and_not_by_its_name():
    given = [source("a"), source("copy", content="a"), source("a", content="b"), source("c")]
    assert names_of(new_videos(manifest(entry("a")), given, url="c")) == ["a", "c"]


def test_equal_new_videos_are_added_once():
    given = [source("b"), source("copy", content="b")]
    assert names_of(new_videos(manifest(entry("a")), given, url="c")) == ["b"]


def test_masks_that_are_not_given_again_change_nothing_but_other_masks_are_a_mistake():
    with_masks = manifest(entry("a", "masks"))
    for given in (source("a"), source("a", "masks"), source("copy", "others", content="a")):
        assert new_videos(with_masks, [given], url="c") == []
    for there in (with_masks, manifest(entry("a"))):
        with pytest.raises(UsageError, match=r"^c: holds a already, with other masks or none.*out"):
            new_videos(there, [source("a", "other masks")], url="c")


def test_a_new_video_whose_samples_would_be_named_as_those_of_another_must_be_renamed():
    there = manifest(entry("a", id=source("a", content="b").id))
    with pytest.raises(UsageError) as error:
        new_videos(there, [source("a"), source("a", content="b")], url="c")
    assert str(error.value) == (
        f"a: its samples would be named as those of a, which c holds, {there.videos[0].id}; rename "
        "it"
    )


def test_what_could_not_be_read_is_tried_again_only_with_other_masks():
    torn = manifest(entry("a"), skipped=(skipped("b"), skipped("c", "masks")))
    given = [source("b"), source("c", "masks"), source("c", "mended masks")]
    assert [video.masks_sha256 for video in new_videos(torn, given, url="c")] == ["mended masks"]
    assert newly_skipped(torn, [skipped("b"), skipped("d")]) == [skipped("d")]


@pytest.mark.parametrize("reason", [f"{PROCESS_ENDED} 4 times", "the decoder crashed on it"])
def test_a_video_whose_process_ended_is_tried_again_and_named_once(reason):
    ended = manifest(entry("a"), skipped=(skipped("b", reason=reason),))
    assert names_of(new_videos(ended, [source("b")], url="c")) == ["b"]
    assert newly_skipped(ended, [skipped("b", reason=reason)]) == []
    again = grown(ended, PARENT, manifest(entry("d"), skipped=(skipped("b"),)))
    assert again.skipped == (skipped("b"),)


def test_a_grown_manifest_names_all_and_its_parent():
    old = manifest(entry("b"), skipped=(skipped("d"), skipped("e")), shards=(shard("7"),))
    added = manifest(
        entry("a"), entry("d"), skipped=(skipped("c"),), shards=(shard("9"), shard("1"))
    )
    both = grown(old, PARENT, added)
    assert [video.name for video in both.videos] == ["a", "b", "d"]
    assert [video.name for video in both.skipped] == ["c", "e"]  # d could be read after all
    assert [each.name[0] for each in both.shards] == ["1", "7", "9"]
    assert both.parent == PARENT
    assert (both.settings, both.shard_bytes) == (old.settings, old.shard_bytes)


@pytest.mark.parametrize(
    ("there", "problem"),
    [
        ({"height": 32}, "height 32, not 240; give --height 32, or choose"),
        ({"gaps": (1, 4)}, "gaps 1,4, not 1,2,3; give --gaps 1,4, or choose"),
        ({"flow": "raft_small"}, "flow raft_small, not dis; give --flow raft_small, or choose"),
        ({"background": "median"}, "background median, not none; give --background median, or"),
        ({"jpeg_quality": 50}, "jpeg_quality 50, not 92; choose"),
    ],
)
def test_a_setting_that_differs_is_named_with_the_option_that_mends_it(there, problem):
    settings = IngestSettings.model_validate(there)
    with pytest.raises(UsageError, match=f"^c: its videos were ingested with {problem}.*--output$"):
        require_alike(manifest(entry("a"), settings=settings), IngestSettings(), MEGABYTE, url="c")


def test_another_shard_size_and_forgotten_stills_are_named():
    with pytest.raises(UsageError, match="give --shard-megabytes 1, or"):
        require_alike(manifest(), IngestSettings(), 2 * MEGABYTE, url="c")
    still = manifest(entry("a", frames=1), settings=IngestSettings(flow="none"))
    with pytest.raises(UsageError, match="flow none, not dis; give --stills, or"):
        require_alike(still, IngestSettings(), MEGABYTE, url="c")
    require_alike(manifest(entry("a")), IngestSettings(), MEGABYTE, url="c")


def age(folder: Path) -> None:
    """Let all files of a folder be written when runs that never ended have left theirs."""
    then = time.time() - ABANDONED_S
    for path in folder.rglob("*"):
        os.utime(path, (then, then))


def write_all(folder: Path, named: Manifest) -> None:
    for each in named.shards:
        storage.write(shard_url(str(folder), each.name), b"tar")
        storage.write(index_url(str(folder), each.name), b"index")
    for video in named.videos:
        if video.background:
            storage.write(background_url(str(folder), video.background), b"scene")


def test_growing_leaves_all_that_was_there_and_takes_away_what_nobody_names(tmp_path):
    first = manifest(entry("a", background="a" * 64), shards=(shard("7"),))
    write_all(tmp_path, first)
    commit(str(tmp_path), first)
    second = grown(first, first.id, manifest(entry("b"), shards=(shard("8"),)))
    orphan = manifest(entry("c", background="c" * 64), shards=(shard("9"),))
    for named in (second, orphan):
        write_all(tmp_path, named)
    commit(str(tmp_path), second)
    age(tmp_path)
    sweep(str(tmp_path))
    assert set(storage.listing(str(tmp_path))) == {
        "LATEST",
        f"manifest-{first.id}.json",
        f"manifest-{second.id}.json",
        f"backgrounds/{'a' * 64}.png",
        *(f"shards/{digit * 16}.{kind}" for digit in "78" for kind in ("tar", "idx")),
    }
    assert load_manifest(str(tmp_path), first.id) == first
    assert load_manifest(str(tmp_path)) == second


def test_of_two_who_add_at_the_same_time_one_is_told_to_repeat(tmp_path):
    first = manifest(entry("a"))
    commit(str(tmp_path), first)
    one, other = (grown(first, first.id, manifest(entry(name))) for name in "bc")
    commit(str(tmp_path), one)
    with pytest.raises(UsageError, match=f"^{tmp_path}: grew meanwhile .* repeat this one$"):
        commit(str(tmp_path), other)
    assert load_manifest(str(tmp_path)) == one


def test_a_spool_loses_its_ledgers_before_the_backgrounds_they_vouch_for(tmp_path, monkeypatch):
    commit(str(tmp_path), manifest())
    left = [f"spool/{'1' * 16}.json", f"spool/{'1' * 16}.tar", f"backgrounds/{'b' * 64}.png"]
    for name in left:
        storage.write(storage.join(str(tmp_path), name), b"")
    age(tmp_path)
    deleted: list[str] = []
    monkeypatch.setattr(storage, "delete", deleted.append)
    sweep(str(tmp_path))
    assert deleted == [storage.join(str(tmp_path), name) for name in left]


def test_what_a_run_may_go_on_with_is_not_swept_nor_the_backgrounds_it_vouches_for(tmp_path):
    commit(str(tmp_path), manifest())
    old = [f"shards/{'1' * 16}.tar", f"backgrounds/{'b' * 64}.png", f"spool/{'3' * 16}.tar"]
    young = [f"shards/{'2' * 16}.tar", f"spool/{'3' * 16}.json"]
    for name in old:
        storage.write(storage.join(str(tmp_path), name), b"")
    age(tmp_path)
    for name in young:
        storage.write(storage.join(str(tmp_path), name), b"")
    sweep(str(tmp_path))
    assert {*old, *young} & set(storage.listing(str(tmp_path))) == {*young, *old[1:]}


def test_what_a_run_goes_on_with_while_another_sweeps_is_left_to_it(tmp_path, monkeypatch):
    first = manifest(entry("a"))
    commit(str(tmp_path), first)
    second = grown(first, first.id, manifest(entry("b"), shards=(shard("8"),)))
    write_all(tmp_path, second)
    age(tmp_path)

    def meanwhile(collection: str) -> str | None:
        write_all(tmp_path, second)
        return newest_id(collection)

    monkeypatch.setattr(writing, "newest_id", meanwhile)
    sweep(str(tmp_path))
    commit(str(tmp_path), second)
    assert load_manifest(str(tmp_path)) == second


def test_what_is_done_leaves_the_spool_and_what_is_under_way_stays(tmp_path):
    done, under_way = source("a"), source("b")
    for video in (done, under_way):
        for suffix in ("json", "tar"):
            storage.write(spool_url(str(tmp_path), video, IngestSettings(), suffix), b"")
    unspool(str(tmp_path), [done], IngestSettings(), 8)
    kept = {spool_url(str(tmp_path), under_way, IngestSettings(), kind) for kind in ("json", "tar")}
    assert {str(path) for path in (tmp_path / "spool").iterdir()} == kept


SCENES = {"swan": moving_disc(3), "car": moving_disc(2, seed=5)}


@pytest.fixture
def twice(tmp_path) -> tuple[str, str, str]:
    """Give a collection's URL, and the ids of its first and its second manifest."""
    url = str(tmp_path / "c")
    first = write_collection(url, {"swan": SCENES["swan"]}).id
    return url, first, write_collection(url, SCENES).id


def test_a_url_names_a_manifest_or_the_newest(twice):
    url, first, second = twice
    assert Collection.open(url).manifest_id == second
    for head in (first[:8], first[:20], first):
        opened = Collection.open(f"{url}@{head}")
        assert (opened.url, opened.manifest_id) == (url, first)
        assert list(opened.videos) == ["swan"]
        assert opened.record(0).meta().video == "swan"
    assert Collection.open(f"{url}@{second[:8]}/").manifest_id == second


def test_a_manifest_that_is_not_there_is_named_with_those_that_are(twice):
    url, first, second = twice
    there = ", ".join(sorted([first[:16], second[:16]]))
    unknown = "0" * 8 if not first.startswith("0" * 8) else "1" * 8
    with pytest.raises(UsageError) as error:
        Collection.open(f"{url}@{unknown}")
    assert str(error.value) == (
        f"{url}@{unknown}: no manifests here begin with {unknown}; there are {there}"
    )


def test_a_head_that_several_manifests_share_or_that_is_short_is_refused(twice):
    url, first, second = twice
    # As if another id began alike; what is in the file is not looked at.
    twin = first[:16] + ("0" if first[16] != "0" else "1") * 48
    Path(manifest_url(url, twin)).touch()
    for head in (first[:8], first[:16]):
        with pytest.raises(UsageError, match=f"2 manifests here begin with {head}; there are"):
            resolve(f"{url}@{head}")
    with pytest.raises(UsageError) as error:
        resolve(f"{url}@{first[:16]}")
    assert first[:20] in str(error.value)
    assert twin[:20] in str(error.value)
    assert resolve(f"{url}@{first[:17]}") == (url, first)
    with pytest.raises(UsageError, match=f"@{second[:7]}: .* too short, 8 digits at least"):
        resolve(f"{url}@{second[:7]}")


def test_a_folder_whose_name_looks_like_one_is_itself(tmp_path):
    dated = str(tmp_path / "walks@20240501")
    commit_manifest(dated, manifest(), None)
    assert resolve(dated) == (dated, manifest().id)
    assert find_collection(str(tmp_path / "walks")) is None
    with pytest.raises(UserError, match=r"elsewhere@20240501: no collection here"):
        resolve(str(tmp_path / "elsewhere@20240501"))
    assert newest_id(dated) == manifest().id
