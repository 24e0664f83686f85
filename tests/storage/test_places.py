"""Objects in a bucket, by a real server of the S3 protocol, and what can go wrong on the way."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from storage.errors import ConfigurationError, NotFoundError, PlaceUnavailableError
from storage.files.places import ObjectPath, place_of
from storage.settings import Settings, check_within_data_roots


def test_a_url_stays_one_on_its_way_through_paths():
    url = "s3://bucket/folder/a b.zip"
    path = place_of(url)
    assert str(path) == str(place_of(Path(url))) == str(pickle.loads(pickle.dumps(path))) == url
    assert (path.name, path.stem, str(path.parent)) == ("a b.zip", "a b", "s3://bucket/folder")
    assert path.resolve() == path.absolute() == path
    assert str(place_of("gs://bucket/")) == "gs://bucket"
    assert not isinstance(place_of("/data/s3"), ObjectPath)
    for url in ("s3://bucket/../other", "s3://bucket/a//b"):
        with pytest.raises(NotFoundError, match="rename"):
            place_of(url)


def test_runs_from_afar_stay_inside_prefixes(tmp_path):
    settings = Settings(home=tmp_path, data_roots="/data:s3://bucket/open:az://other")

    def check(path, may_be_url=True):
        return check_within_data_roots(
            path, for_deployment=True, settings=settings, may_be_url=may_be_url
        )

    assert str(check("s3://bucket/open/x.zip")) == "s3://bucket/open/x.zip"
    assert str(check(Path("az://other/x.zip"))) == "az://other/x.zip"
    for outside in ("s3://bucket/opened/x.zip", "s3://bucket", "gs://bucket/open/x", "/etc/x"):
        with pytest.raises(Exception, match="VISIONFLOWS_DATA_ROOTS"):
            check(outside)
    with pytest.raises(Exception, match="in a bucket"):
        check("s3://bucket/open/x.zip", may_be_url=False)


def test_objects_are_written_listed_and_read(bucket):
    path = bucket / "folder" / "a.txt"
    path.write_bytes(b"0123456789")
    (bucket / "folderish").write_bytes(b"")
    assert path.read_bytes() == b"0123456789"
    assert path.read_ranges([0, 8], [2, 10]) == [
        b"01",
        b"89",
    ]
    facts = path.facts()
    assert facts.size == 10 and b"".join(path.blocks(facts.etag)) == b"0123456789"
    assert [(name, one.etag) for name, one in path.parent.objects()] == [("a.txt", facts.etag)]
    assert (path.is_file(), path.is_dir(), path.parent.is_file(), path.parent.is_dir()) == (
        True, False, False, True,
    )  # fmt: skip
    path.write_bytes(b"9876543210")
    assert path.facts().modified_at_ns != facts.modified_at_ns
    with pytest.raises(NotFoundError, match="was replaced"):
        list(path.blocks(facts.etag))


def test_a_listing_of_several_pages_is_whole(bucket):
    for number in range(1003):
        (bucket / "many" / f"{number:04}").write_bytes(b"")
    assert len({name for name, _ in (bucket / "many").objects()}) == 1003


def test_every_failure_is_a_sentence_with_the_object(bucket, faults):
    (bucket / "a").write_bytes(b"x" * 100_000)
    with pytest.raises(NotFoundError, match=r"There is no s3://.*/b, or no bucket"):
        (bucket / "b").facts()
    with pytest.raises(NotFoundError, match="AWS_ENDPOINT_URL"):
        list(place_of("s3://no-such-bucket/x").objects())
    # Unavailable, then cut in the middle: tried again without a word.
    faults[:] = ["503", "503", "cut"]
    assert (bucket / "a").read_bytes() == b"x" * 100_000 and faults == []
    faults[:] = ["403"]
    with pytest.raises(ConfigurationError, match=r"s3://.*/a may not.*AWS_SECRET_ACCESS_KEY"):
        (bucket / "a").read_bytes()
    faults[:] = ["expired"]
    with pytest.raises(ConfigurationError, match="may not be read with these credentials"):
        (bucket / "a").read_bytes()


def test_a_store_that_never_answers_is_said(bucket, monkeypatch):
    monkeypatch.setattr("storage.files.places._MOST_TRIES", 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(PlaceUnavailableError, match="cannot be reached"):
        (bucket / "a").read_bytes()
