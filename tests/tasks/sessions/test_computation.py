from __future__ import annotations

import copy
import json
import os
import shutil
import unicodedata
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.records import SessionManifestStatus, SessionStatsSource
from tasks.sessions.computation import compute_session_statistics
from tasks.sessions.metadata.image_sample import choose_sample
from tasks.sessions.statistics import SessionOptions
from tests.tasks.sessions.manifest.test_facts import PLACES
from tests.tasks.sessions.manifest.test_files import json_values
from tests.tasks.sessions.session_samples import (
    IN_UTC,
    LONG_AGO,
    NOW,
    SD_PARSERS,
    codes_of,
    compute,
    found,
    listed_images,
    make_session,
    manifest,
    png,
    set_times,
    snapshot,
    text_chunk,
)

AUTOMATIC1111 = SD_PARSERS / "parsers" / "AUTOMATIC1111"


def parameters(seed, model="cat v1", steps=20):
    return text_chunk(
        "parameters",
        f"a cat, number {seed}\nNegative prompt: dog\nSteps: {steps}, Sampler: Euler, "
        f"CFG scale: 7, Seed: {seed}, Size: 512x768, Model hash: c0d1994c73, Model: {model}",
    )


def test_the_documented_session(tmp_path):
    document = manifest(6)
    document["snapshot"]["generation_params"] = {
        "mode": "combinatorial",
        "seed_mode": "progressive",
        "seed_base": 42,
        "max_images": 100,
    }
    folder = make_session(tmp_path / "20251014_173320-facial_expressions", document, images=6)
    statistics = compute(folder)
    assert statistics.problems == tuple(
        problem for problem in statistics.problems if str(problem.code) == "image_empty"
    )
    assert statistics.session_id == "20251014_173320-facial_expressions"
    assert statistics.session_path == str(folder)
    assert (statistics.images_expected, statistics.images_actual) == (6, 6)
    assert statistics.completion_percentage == 100.0
    assert not statistics.is_seed_sweep
    assert statistics.stats_source is SessionStatsSource.MANIFEST
    assert statistics.manifest_status is SessionManifestStatus.COMPLETED
    assert statistics.session_created_at == datetime(2025, 10, 14, 17, 33, 20, tzinfo=UTC)
    assert statistics.first_image_created_at == LONG_AGO
    assert statistics.last_image_created_at == LONG_AGO
    assert statistics.stats_computed_at == NOW
    assert (statistics.images_listed, statistics.images_listed_absent) == (6, 0)
    assert statistics.images_unlisted == 0
    assert statistics.images_sampled == 0
    assert not statistics.is_ongoing
    assert not statistics.look_again
    assert statistics.is_readable
    assert statistics.fingerprint == found(folder).fingerprint


def test_an_incomplete_session(tmp_path):
    folder = make_session(tmp_path / "one", manifest(6), images=4)
    (folder / "extra.webp").touch()
    set_times(folder, LONG_AGO)
    statistics = compute(folder)
    assert (statistics.images_actual, statistics.completion_percentage) == (5, 83.33)
    assert (statistics.images_listed, statistics.images_listed_absent) == (6, 2)
    assert statistics.images_unlisted == 1
    problems = {str(problem.code): problem for problem in statistics.problems}
    assert problems["listed_but_absent"].count == 2
    assert "'img_0004.png', 'img_0005.png'" in problems["listed_but_absent"].reason
    assert "'extra.webp'" in problems["present_but_unlisted"].reason
    assert "5 of 6 images" in problems["status_disagrees"].reason


def test_an_image_listed_twice_is_one(tmp_path):
    document = manifest(3, images=[*listed_images(3), *listed_images(2)])
    statistics = compute(make_session(tmp_path / "one", document, images=3))
    assert (statistics.images_listed, statistics.images_unlisted) == (3, 0)
    assert {str(p.code): p.count for p in statistics.problems}["listed_twice"] == 2


def test_composed_and_decomposed_names_are_the_same(tmp_path):
    name = unicodedata.normalize("NFC", "café.png")
    document = manifest(images=[{"filename": name, "seed": 1}])
    folder = make_session(tmp_path / "one", document)
    (folder / unicodedata.normalize("NFD", name)).touch()
    statistics = compute(folder)
    assert (statistics.images_listed_absent, statistics.images_unlisted) == (0, 0)


def test_a_cut_manifest_gives_what_is_whole_in_it(tmp_path):
    text = json.dumps(manifest(6), indent=2)
    content = text[: text.index('"img_0004.png"')].encode()
    statistics = compute(make_session(tmp_path / "one", content, images=5))
    assert statistics.stats_source is SessionStatsSource.MANIFEST
    assert (statistics.images_expected, statistics.completion_percentage) == (6, 83.33)
    assert statistics.manifest_status is None  # it stands at the end
    assert (statistics.images_listed, statistics.images_listed_absent) == (4, 0)
    assert statistics.images_unlisted is None  # nobody knows what would have followed
    assert (statistics.seed_min, statistics.seed_max) == (42, 45)
    assert "manifest_truncated" in codes_of(statistics)


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (None, "manifest_missing"),
        (b"", "manifest_empty"),
        (b"not json", "manifest_not_json"),
        (b"[1, 2]", "manifest_not_an_object"),
        ({"snapshot": {}, "images": []}, "snapshot_empty"),
        ({"images": []}, "snapshot_missing"),
        ({"snapshot": None}, "snapshot_missing"),
        ({"snapshot": [1]}, "wrong_type"),
    ],
)
def test_without_a_manifest_the_images_tell(tmp_path, document, code):
    folder = make_session(tmp_path / "2025-10-14_173320_cats", document)
    for seed in (7, 2**64 - 1, 12):
        (folder / f"img_{seed}.png").write_bytes(png(parameters(seed)))
    set_times(folder, LONG_AGO)
    statistics = compute(folder)
    assert code in codes_of(statistics)
    assert statistics.stats_source is SessionStatsSource.IMAGE_METADATA
    assert (statistics.sd_model, statistics.sd_model_hash) == ("cat v1", "c0d1994c73")
    assert statistics.resolved_prompt == "a cat, number 12"  # of the first by name
    assert statistics.negative_prompt == "dog"
    assert (statistics.width, statistics.height) == (512, 768)
    assert (statistics.steps, statistics.cfg_scale) == (20, 7.0)
    assert statistics.sampler_name == "Euler"
    assert (statistics.seed_min, statistics.seed_max) == (7, 2**64 - 1)
    assert statistics.images_sampled == 3
    assert (statistics.images_actual, statistics.images_expected) == (3, 0)
    assert statistics.completion_percentage == 0.0
    assert statistics.session_created_at == datetime(2025, 10, 14, 17, 33, 20, tzinfo=UTC)


def test_images_that_tell_nothing_are_still_counted(tmp_path):
    folder = make_session(tmp_path / "cats", images=2)
    (folder / "photo.png").write_bytes(png())
    shutil.copy(AUTOMATIC1111 / "automatic1111_stealth.png", folder / "stealth.png")
    statistics = compute(folder)
    assert statistics.stats_source is SessionStatsSource.FILESYSTEM
    assert statistics.images_actual == 4
    assert statistics.sd_model is None
    assert statistics.session_created_at is None
    problems = {str(problem.code): problem for problem in statistics.problems}
    assert problems["metadata_unreadable"].place in ("img_0000.png", "img_0001.png")
    assert "'photo.png'" in problems["metadata_missing"].reason
    assert "'stealth.png'" in problems["metadata_hidden_in_pixels"].reason


def test_images_that_differ_are_told(tmp_path):
    folder = make_session(tmp_path / "cats")
    for seed, model in enumerate(["dog v2", "cat v1", "cat v1"]):
        (folder / f"{seed}.png").write_bytes(png(parameters(seed, model, steps=20 + seed)))
    statistics = compute(folder)
    assert statistics.sd_model == "cat v1"
    (problem,) = [p for p in statistics.problems if str(p.code) == "metadata_differs"]
    assert "sd_model, steps" in problem.reason


def test_only_a_sample_is_opened(tmp_path):
    folder = make_session(tmp_path / "cats", images=100)
    (folder / "img_0000.png").write_bytes(png(parameters(5)))
    (folder / "img_0099.png").write_bytes(png(parameters(50)))
    (folder / "img_0001.png").write_bytes(png(parameters(1)))
    statistics = compute(folder)
    assert statistics.images_sampled == 16
    assert (statistics.seed_min, statistics.seed_max) == (5, 50)
    none = compute(folder, options=SessionOptions(time_zone=UTC, sample_size=0))
    assert (none.images_sampled, none.stats_source) == (0, SessionStatsSource.FILESYSTEM)


@pytest.mark.parametrize(
    ("count", "size"), [(100, 16), (17, 16), (16, 16), (3, 16), (0, 16), (9, 2)]
)
def test_a_sample_is_spread_evenly(count, size):
    names = [f"{number:03d}" for number in range(count)]
    chosen = choose_sample(names[::-1], size)
    assert len(chosen) == len(set(chosen)) == min(count, size)
    assert chosen == sorted(chosen)
    if count:
        assert (chosen[0], chosen[-1]) == (names[0], names[-1])
    steps = {int(b) - int(a) for a, b in pairwise(chosen)}
    assert not steps or max(steps) - min(steps) <= 1
    assert choose_sample(names, 0) == []
    assert choose_sample(names, 1) == names[:1]


def test_seeds_of_the_list_go_before_those_of_a_sample(tmp_path):
    folder = make_session(tmp_path / "cats", manifest(6, snapshot={}))
    (folder / "img_0000.png").write_bytes(png(parameters(7)))
    statistics = compute(folder)
    assert statistics.stats_source is SessionStatsSource.IMAGE_METADATA
    assert (statistics.seed_min, statistics.seed_max) == (42, 47)


@pytest.mark.parametrize(
    ("status", "age", "is_ongoing", "look_again"),
    [
        ("ongoing", timedelta(minutes=1), True, True),
        (None, timedelta(minutes=1), True, True),
        ("completed", timedelta(minutes=1), False, True),
        ("aborted", timedelta(minutes=1), False, True),
        ("ongoing", timedelta(minutes=6), False, False),
        (None, timedelta(minutes=6), False, False),
        (None, timedelta(minutes=-1), True, True),  # clocks differ a little
        (None, timedelta(days=-1), False, False),
    ],
)
def test_a_session_that_is_being_written(tmp_path, status, age, is_ongoing, look_again):
    folder = make_session(tmp_path / "one", manifest(1, status=status), 1, written=NOW - age)
    statistics = compute(folder)
    assert (statistics.is_ongoing, statistics.look_again) == (is_ongoing, look_again)
    assert ("time_in_future" in codes_of(statistics)) == (age < -timedelta(hours=1))


def test_one_new_image_makes_a_session_ongoing(tmp_path):
    folder = make_session(tmp_path / "one", manifest(2, status="ongoing"), 2)
    assert not compute(folder).is_ongoing
    moment = (NOW - timedelta(seconds=30)).timestamp()
    os.utime(folder / "img_0001.png", (moment, moment))
    statistics = compute(folder)
    assert statistics.is_ongoing
    assert statistics.first_image_created_at == LONG_AGO
    assert statistics.last_image_created_at == NOW - timedelta(seconds=30)
    later = compute(folder, now=NOW + timedelta(minutes=10))
    assert not later.is_ongoing
    assert not later.look_again


def test_a_file_that_was_removed_is_looked_at_again(tmp_path):
    folder = make_session(tmp_path / "one", manifest(2), 2)
    moment = NOW.timestamp()
    os.utime(folder, (moment, moment))
    statistics = compute(folder)
    assert (statistics.is_ongoing, statistics.look_again) == (False, True)


def test_a_folder_that_is_gone(tmp_path):
    session = found(make_session(tmp_path / "one", manifest(2), 2))
    shutil.rmtree(tmp_path / "one")
    statistics = compute_session_statistics(session, NOW, IN_UTC)
    assert codes_of(statistics) == {"folder_missing"}
    assert not statistics.is_readable
    assert statistics.images_actual == 0


def as_nobody(work):
    """Do something in a child process that is not the superuser, and return what it returns."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            if os.geteuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            os.write(writer, repr(work()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read().decode()
    os.waitpid(child, 0)
    return answer


def test_what_may_not_be_read_is_told(public_folder):
    folder = make_session(public_folder / "unreadable_session", manifest(2), 2)
    session = found(folder)

    def look():
        statistics = compute_session_statistics(session, NOW, IN_UTC)
        return sorted(codes_of(statistics)), statistics.is_readable, statistics.images_actual

    (folder / "manifest.json").chmod(0)
    assert "manifest_unreadable" in as_nobody(look)
    folder.chmod(0o444)  # names can be listed, but nothing looked at
    assert as_nobody(look) == repr((["image_unreadable", "manifest_unreadable"], False, 0))
    folder.chmod(0)
    assert as_nobody(look) == repr((["folder_unreadable"], False, 0))
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_names_of_any_bytes(tmp_path):
    folder = make_session(tmp_path / "one", manifest(0))
    try:
        (folder / os.fsdecode(b"caf\xe9.png")).touch()
    except OSError:
        return  # a file system that takes UTF-8 only
    statistics = compute(folder)
    assert (statistics.images_actual, statistics.images_unlisted) == (1, 1)
    assert "unexpected_error" not in codes_of(statistics)


@given(st.sampled_from(PLACES[1:]), json_values)
def test_any_value_anywhere_gives_statistics(tmp_path_factory, place, value):
    folder = tmp_path_factory.getbasetemp() / "any_value"
    document = copy.deepcopy(manifest(2))
    holder = document
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    statistics = compute(make_session(folder, document, images=2))
    assert "unexpected_error" not in codes_of(statistics)
    assert statistics.images_actual == 2
    assert statistics.completion_percentage >= 0
    if place[0] == "status":
        assert statistics.sd_model == "animefull_v1.safetensors"


def test_a_hundred_thousand_images_are_listed(tmp_path):
    folder = make_session(tmp_path / "large", {"snapshot": snapshot(), "images": []})
    images = [{"filename": f"i{number}.png", "seed": number} for number in range(100_000)]
    text = json.dumps({"snapshot": snapshot(), "images": images, "status": "ongoing"})
    (folder / "manifest.json").write_text(text)
    set_times(folder, LONG_AGO)
    statistics = compute(folder)
    assert (statistics.images_listed, statistics.images_listed_absent) == (100_000, 100_000)
    assert (statistics.seed_min, statistics.seed_max) == (0, 99_999)
    assert len(statistics.problems) == 1
    assert len(statistics.problems[0].reason) < 400
