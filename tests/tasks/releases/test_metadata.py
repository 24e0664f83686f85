"""The statistics that a release carries, and whether they are believed."""

from __future__ import annotations

import json
import zipfile

import pytest

from tasks.releases.archive.errors import ReleaseError
from tasks.releases.metadata import content_key, read_release_metadata
from tasks.releases.scan import scan_release
from tasks.releases.verification import StatisticsDifference, compare_statistics
from tests.tasks.releases.archives import sound_dataset, write_zip

STATS = {
    "split_counts": {"train": 2, "val": 1, "test": 1},
    "class_distribution": {"cat": 2, "dog": 3},
}


def release(path, files=None, **metadata):
    parts = {f"metadata/{name}.json": json.dumps(value) for name, value in metadata.items()}
    return write_zip(path, {**(files or sound_dataset()), **parts})


@pytest.mark.parametrize("top", ["", "release-1/"])
def test_statistics_are_read_from_one_member(tmp_path, top):
    files = {**sound_dataset(), "metadata/dataset_stats.json": json.dumps(STATS).encode()}
    path = write_zip(tmp_path / "r.zip", {f"{top}{name}": data for name, data in files.items()})
    found = read_release_metadata(path)
    assert (found.train_image_count, found.val_image_count, found.test_image_count) == (2, 1, 1)
    assert found.classes_json() == ["cat", "dog"]
    assert found.source == "metadata"
    assert found.content_key == content_key(path) == scan_release(path).content_key
    assert [row["instances"] for row in found.class_rows().to_pylist()] == [2, 3]
    assert compare_statistics(found, scan_release(path)) == []


def test_statistics_in_the_configuration(tmp_path):
    path = release(tmp_path / "r.zip", release_config={"name": "x", "dataset_stats": STATS})
    assert read_release_metadata(path).train_image_count == 2
    # The file of its own is preferred.
    other = {**STATS, "split_counts": {"train": 9}}
    path = release(tmp_path / "s.zip", release_config={"dataset_stats": STATS}, dataset_stats=other)
    assert read_release_metadata(path).train_image_count == 9


def test_no_other_member_is_looked_at(tmp_path):
    path = release(tmp_path / "r.zip", dataset_stats=STATS)
    data = path.read_bytes()
    start = data.index(b"labels/train/a.txt") + len("labels/train/a.txt")
    path.write_bytes(data[:start] + b"\xff" * 8 + data[start + 8 :])
    assert read_release_metadata(path).val_image_count == 1


def test_nothing_to_read(tmp_path):
    assert read_release_metadata(write_zip(tmp_path / "r.zip", sound_dataset())) is None
    assert read_release_metadata(release(tmp_path / "s.zip", release_config={"a": 1})) is None
    decoy = {"x/notmetadata/dataset_stats.json": b"{}", "metadata/dataset_stats.json.bak": b"{}"}
    assert read_release_metadata(write_zip(tmp_path / "t.zip", decoy)) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"split_counts": {"train": 1}}',
        b'{"split_counts": [], "class_distribution": {}}',
        b'{"split_counts": {"train": -1}, "class_distribution": {}}',
        b'{"split_counts": {"train": 1.5}, "class_distribution": {}}',
        b'{"split_counts": {"train": true}, "class_distribution": {}}',
        b'{"split_counts": {"train": "1"}, "class_distribution": {}}',
        b'{"split_counts": {"train": NaN}, "class_distribution": {}}',
        b'{"split_counts": {"train": 1e999}, "class_distribution": {}}',
        b'{"split_counts": {"all": 4}, "class_distribution": {}}',
        b'{"split_counts": {"train": 1}, "class_distribution": {"cat": null}}',
        b"[" * 100_000,
    ],
)
def test_metadata_that_cannot_be_used(tmp_path, content):
    files = {**sound_dataset(), "metadata/dataset_stats.json": content}
    path = write_zip(tmp_path / "r.zip", files)
    assert read_release_metadata(path) is None
    found = scan_release(path)
    assert found.image_count == 4
    assert found.problem_totals == {"metadata_unusable": 1}


def test_numeric_ids_are_sorted_as_numbers(tmp_path):
    stats = {**STATS, "class_distribution": {"10": 1, "9": 2, "0": 3}}
    found = read_release_metadata(release(tmp_path / "r.zip", dataset_stats=stats))
    assert found.classes_json() == ["0", "9", "10"]
    assert [one.class_id for one in found.class_names] == [0, 9, 10]


def test_class_names_give_the_order_and_the_unused_classes(tmp_path):
    stats = {**STATS, "class_names": ["dog", "bird", "cat"]}
    found = read_release_metadata(release(tmp_path / "r.zip", dataset_stats=stats))
    assert found.classes_json() == ["dog", "bird", "cat"]
    assert [row["instances"] for row in found.class_rows().to_pylist()] == [3, 0, 2]


def test_every_difference_is_reported(tmp_path):
    stats = {
        "split_counts": {"train": 2, "valid": 5},
        "class_distribution": {"cat": 2, "bird": 1, "fish": 0},
    }
    path = release(tmp_path / "r.zip", dataset_stats=stats)
    metadata, scan = read_release_metadata(path), scan_release(path)
    assert compare_statistics(metadata, scan) == [
        StatisticsDifference("val_image_count", 5, 1),
        StatisticsDifference("test_image_count", 0, 1),
        StatisticsDifference("class_count", 3, 2),
        StatisticsDifference("instances of class 'bird'", 1, None),
        StatisticsDifference("instances of class 'dog'", None, 3),
    ]


def test_classes_in_another_order_are_a_difference(tmp_path):
    stats = {**STATS, "class_distribution": {"dog": 3, "cat": 2}}
    path = release(tmp_path / "r.zip", dataset_stats=stats)
    assert compare_statistics(read_release_metadata(path), scan_release(path)) == [
        StatisticsDifference("class number 1", "'dog'", "'cat'")
    ]


@pytest.mark.parametrize("own_first", [True, False])
@pytest.mark.parametrize("other", ["copy/", "a/b/", "a/../"])
def test_the_statistics_of_the_dataset_that_counts_are_taken(tmp_path, own_first, other):
    """Those of a copy further down, or of an absurd name, are not."""
    stats = [("metadata/dataset_stats.json", json.dumps(STATS))]
    foreign = {"split_counts": {"train": 9}, "class_distribution": {"cat": 9}}
    stats.insert(own_first, (f"{other}metadata/dataset_stats.json", json.dumps(foreign)))
    files = [*sound_dataset().items(), *((other + name, b"x") for name in sound_dataset()), *stats]
    found = read_release_metadata(write_zip(tmp_path / "r.zip", files))
    assert (found.train_image_count, found.val_image_count, found.test_image_count) == (2, 1, 1)


def test_statistics_of_an_attack_are_none(tmp_path):
    files = [*sound_dataset().items(), ("../metadata/dataset_stats.json", json.dumps(STATS))]
    path = write_zip(tmp_path / "r.zip", files)
    with pytest.raises(ReleaseError, match=r"'\.\./metadata/dataset_stats\.json' leads out of"):
        read_release_metadata(path)
    # What the archive says of itself does not help it.
    path = release(path, {**sound_dataset(), "/etc/passwd": b"x"}, dataset_stats=STATS)
    with pytest.raises(ReleaseError, match="'/etc/passwd' leads out of"):
        read_release_metadata(path)


def test_thousands_of_unusable_metadata_are_not_all_read(tmp_path):
    more = {f"{number}/metadata/dataset_stats.json": b"x" for number in range(1000)}
    path = write_zip(tmp_path / "r.zip", {**sound_dataset(), **more})
    assert scan_release(path).problem_totals == {"metadata_unusable": 20}


def test_a_list_of_endless_classes_is_unusable(tmp_path):
    endless = {f"c{number}": 1 for number in range(100_001)}
    path = release(tmp_path / "r.zip", dataset_stats={**STATS, "class_distribution": endless})
    assert read_release_metadata(path) is None
    assert scan_release(path).problem_totals == {"metadata_unusable": 1}


def test_of_equal_names_the_last_one_counts(tmp_path):
    name = "metadata/dataset_stats.json"
    later = {**STATS, "split_counts": {"train": 3}}
    files = [*sound_dataset().items(), (name, json.dumps(STATS)), (name, json.dumps(later))]
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = write_zip(tmp_path / "r.zip", files)
    assert read_release_metadata(path).train_image_count == 3


def test_the_key_follows_the_content(tmp_path):
    first = content_key(write_zip(tmp_path / "a.zip", sound_dataset()))
    changed = {**sound_dataset(), "labels/train/a.txt": b"0 .5 .5 .1 .2\n1 .3 .3 .1 .1\n"}
    assert content_key(write_zip(tmp_path / "b.zip", changed)) != first
    (tmp_path / "c.zip").write_bytes((tmp_path / "a.zip").read_bytes())
    assert content_key(tmp_path / "c.zip") == first


def test_metadata_behind_two_gigabytes_is_found_by_its_zip64_field(tmp_path, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    path = release(tmp_path / "r.zip", dataset_stats=STATS)
    assert b"\x01\x00" in path.read_bytes()
    assert read_release_metadata(path).train_image_count == 2
    assert scan_release(path).image_count == 4


def test_rows_of_no_geometry_are_no_difference(tmp_path):
    files = {**sound_dataset(), "labels/train/b.txt": b"0 .4 .4 .2 .2\n0" + b" .1" * 9}
    path = release(tmp_path / "r.zip", files, dataset_stats=STATS)
    assert compare_statistics(read_release_metadata(path), scan_release(path)) == []
