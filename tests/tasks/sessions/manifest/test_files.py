from __future__ import annotations

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.sessions.manifest import files as manifest_files
from tasks.sessions.manifest.files import parse_manifest, read_manifest
from tasks.sessions.problems import session_log
from tests.tasks.sessions.session_samples import listed_images, make_session, manifest, snapshot

WHOLE = json.dumps(manifest(6), indent=2, ensure_ascii=False).encode()


def parse(content):
    log = session_log()
    parts = parse_manifest(content, log)
    return parts, {str(problem.code): problem for problem in log.entries()}


def test_a_whole_manifest():
    parts, problems = parse(WHOLE)
    assert problems == {}
    assert parts.snapshot == snapshot()
    assert parts.status == "completed"
    assert parts.is_snapshot_whole
    assert parts.images.names == [f"img_{number:04d}.png" for number in range(6)]
    assert (parts.images.seed_min, parts.images.seed_max) == (42, 47)
    assert parts.images.is_whole


def test_both_parsers_read_the_same():
    log = session_log()
    assert manifest_files._parse_slowly(WHOLE, log) == parse(WHOLE)[0]
    assert log.entries() == ()


def test_a_manifest_cut_at_any_byte_never_gives_more_than_there_is():
    whole = parse(WHOLE)[0]
    # where each entry of the list ends
    ends = [position for position in range(len(WHOLE)) if WHOLE[:position].endswith(b"    },\n")]
    assert len(ends) >= 5
    for size in range(len(WHOLE)):
        parts, problems = parse(WHOLE[:size])
        if not WHOLE[:size].strip():
            assert parts is None
            assert set(problems) == {"manifest_empty"}
            continue
        assert set(problems) == {"manifest_truncated"}, size
        assert parts.status in (None, "completed")
        if parts.is_snapshot_whole and parts.snapshot is not None:
            assert parts.snapshot == whole.snapshot
        if parts.images is not None:
            count = len(parts.images.names)
            assert parts.images.names == whole.images.names[:count]
            assert parts.images.seed_max == (41 + count if count else None)
            assert parts.snapshot == whole.snapshot
            assert parts.images.is_whole == (
                b"\n  ]," in WHOLE[:size] or WHOLE[:size].endswith(b"\n  ]")
            )


def test_both_parsers_read_the_same_of_a_cut_manifest():
    start = WHOLE.index(b'"images"')
    for size in range(start, len(WHOLE)):
        log = session_log()
        assert manifest_files._parse_slowly(WHOLE[:size], log) == parse(WHOLE[:size])[0], size


def test_brackets_in_the_prompt_that_is_cut_do_not_cost_the_fast_way(monkeypatch):
    text = WHOLE.replace(b'"prompt": "', b'"prompt": "[red:blue] {a|b} ').replace(b"} ]", b"]")
    assert b"[red:blue]" in text
    start = text.index(b'"img_0003.png"')
    cuts = range(start, text.index(b'"filename"', start))
    slowly = {size: manifest_files._parse_slowly(text[:size], session_log()) for size in cuts}
    monkeypatch.delattr(manifest_files, "_parse_slowly")
    for size, expected in slowly.items():
        assert parse(text[:size])[0] == expected, size


def test_what_is_whole_before_the_cut_is_kept():
    cut = WHOLE.index(b'"img_0003.png"') + 8
    parts, problems = parse(WHOLE[:cut])
    assert parts.snapshot == snapshot()
    assert parts.images.names == ["img_0000.png", "img_0001.png", "img_0002.png"]
    assert (parts.images.seed_min, parts.images.seed_max) == (42, 44)
    assert not parts.images.is_whole
    line = WHOLE[:cut].count(b"\n") + 1
    assert problems["manifest_truncated"].reason.startswith(f"ends in the middle, in line {line};")


def test_a_number_at_the_cut_is_not_taken():
    content = b'{"snapshot": {"generation_params": {"num_images": 12'
    parts, _ = parse(content)
    assert parts.snapshot == {"generation_params": {}}
    assert not parts.is_snapshot_whole
    assert parse(content + b",")[0].snapshot == {"generation_params": {"num_images": 12}}


def test_placeholders_are_not_counted_from_a_part_of_them():
    content = b'{"snapshot": {"version": "2.0", "variations": {"A": {"used": ["x"]}, "B": {"us'
    parts, _ = parse(content)
    assert parts.snapshot == {"version": "2.0"}
    assert not parts.is_snapshot_whole


def test_damage_in_the_middle_is_told_with_its_line():
    broken = WHOLE.replace(b'"filename": "img_0002.png",', b'"filename": "img_0002.png";')
    parts, problems = parse(broken)
    assert set(problems) == {"manifest_damaged"}
    line = WHOLE[: WHOLE.index(b'"img_0002.png"')].count(b"\n") + 1
    assert f"from line {line} on" in problems["manifest_damaged"].reason
    assert parts.images.names == ["img_0000.png", "img_0001.png"]


def test_text_after_the_document_is_damage_that_costs_nothing():
    parts, problems = parse(WHOLE + b"}")
    assert set(problems) == {"manifest_damaged"}
    assert len(parts.images.names) == 6
    assert parts.status == "completed"


@pytest.mark.parametrize("content", [b"", b" \n\t", b"\0" * 4096, b"\xef\xbb\xbf"])
def test_an_empty_file(content):
    parts, problems = parse(content)
    assert parts is None
    assert "manifest_empty" in problems


@pytest.mark.parametrize(
    "content", [b"not json", b"\x89PNG\r\n\x1a\n\0\0\0", b"'single'", b"<xml/>"]
)
def test_what_is_not_json(content):
    parts, problems = parse(content)
    assert parts is None
    assert "manifest_not_json" in problems


@pytest.mark.parametrize("content", [b"[]", b"null", b"12", b'"text"', b"[{}]", b"true"])
def test_json_that_is_no_object(content):
    parts, problems = parse(content)
    assert parts is None
    assert set(problems) == {"manifest_not_an_object"}


def test_nesting_without_end_is_no_crash():
    for content in (b"[" * 200_000, b'{"snapshot":' * 100_000, b'{"images": ' + b"[" * 200_000):
        _, problems = parse(content)
        assert problems
    parts, problems = parse(b'{"status": "completed", "snapshot": ' + b"[" * 200_000)
    assert parts.status == "completed"


@pytest.mark.parametrize(
    ("encoding", "codes"),
    [
        ("utf-8-sig", {"manifest_bom"}),
        ("utf-16", {"manifest_bom", "manifest_encoding"}),
        ("utf-32", {"manifest_bom", "manifest_encoding"}),
        ("utf-16-le", {"manifest_encoding"}),
        ("utf-16-be", {"manifest_encoding"}),
    ],
)
def test_encodings(encoding, codes):
    parts, problems = parse(WHOLE.decode().encode(encoding))
    assert set(problems) == codes
    assert parts == parse(WHOLE)[0]


def test_bytes_that_are_no_utf8_cost_only_themselves():
    parts, problems = parse(WHOLE.replace(b"img_0002", b"img_\xe9"))
    assert set(problems) == {"manifest_encoding"}
    assert parts.images.names[2:4] == ["img_\ufffd.png", "img_0003.png"]
    # what nobody reads may hold anything
    assert parse(WHOLE.replace("é".encode(), b"\xe9")) == parse(WHOLE)


def test_zeros_at_the_end_are_a_cut():
    parts, problems = parse(WHOLE[:-200] + b"\0" * 4096)
    assert set(problems) == {"manifest_truncated"}
    assert len(parts.images.names) >= 4


def test_nan_and_infinity_are_not_json_and_are_read():
    content = (
        b'{"snapshot": {"api_params": {"cfg_scale": NaN, "steps": 1e999}}, "status": "aborted"}'
    )
    parts, _ = parse(content)
    assert parts.status == "aborted"
    assert parts.snapshot["api_params"]["cfg_scale"] != parts.snapshot["api_params"]["cfg_scale"]


def test_numbers_of_any_length():
    parts, _ = parse(b'{"snapshot": {"a": ' + b"9" * 10_000 + b"}}")
    assert parts.snapshot == {"a": float("inf")}


@pytest.mark.parametrize(
    ("images", "codes", "names"),
    [
        (None, set(), None),
        ([], set(), []),
        ({}, {"wrong_type"}, None),
        ("img.png", {"wrong_type"}, None),
        ([None, 3, "img.png", [], {"seed": 3}], {"wrong_type"}, []),
        ([{"filename": "a.png"}, {"filename": 7}], {"wrong_type"}, ["a.png"]),
        ([{"filename": "sub/a.png"}, {"filename": "C:\\x\\b.png"}], set(), ["a.png", "b.png"]),
        ([{"filename": "a.png", "seed": "12"}], {"number_as_text"}, ["a.png"]),
        ([{"filename": "a.png", "seed": True}], {"wrong_type"}, ["a.png"]),
        ([{"filename": "a.png", "seed": 1.5}], {"wrong_type"}, ["a.png"]),
        ([{"filename": "a.png", "seed": 2**64}], {"out_of_range"}, ["a.png"]),
        ([{"filename": "a.png", "seed": 2**64 - 1}], set(), ["a.png"]),
        ([{"filename": "a.png", "seed": None}], set(), ["a.png"]),
    ],
)
def test_lists_of_images(images, codes, names):
    parts, problems = parse(json.dumps({"snapshot": {}, "images": images}).encode())
    assert set(problems) == codes
    assert (parts.images and parts.images.names) == names or parts.images is None


def test_seeds_that_ask_for_any_do_not_count():
    images = [{"filename": "a.png", "seed": seed} for seed in (-1, 2**63 + 5, 7.0, -1)]
    parts, _ = parse(json.dumps({"images": images}).encode())
    assert (parts.images.seed_min, parts.images.seed_max) == (7, 2**63 + 5)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("snapshot", "images", "status", "other"), json_values)
    )
)
def test_any_document_is_read_without_an_error(document):
    content = json.dumps(document).encode()
    parts, _ = parse(content)
    listed = document.get("images")
    entries = listed if isinstance(listed, list) else []
    named = [item for item in entries if isinstance(item, dict) and "filename" in item]
    assert parts is not None
    assert len(parts.images.names if parts.images else []) <= len(named)


@given(st.binary(max_size=60), st.integers(0, len(WHOLE)), st.integers(0, 40))
def test_any_damage_is_read_without_an_error(noise, start, length):
    parts, _ = parse(WHOLE[:start] + noise + WHOLE[start + length :])
    assert parts is None or parts.images is None or len(parts.images.names) <= 6 + len(noise)


def test_images_of_other_sizes_are_listed_in_full():
    parts, problems = parse(json.dumps({"images": listed_images(1000)}).encode())
    assert problems == {}
    assert len(parts.images.names) == 1000


def test_the_file_may_be_missing_a_link_or_a_pipe(tmp_path):
    def codes(folder):
        log = session_log()
        assert read_manifest(folder, log) is None
        return [str(problem.code) for problem in log.entries()]

    assert codes(make_session(tmp_path / "missing")) == ["manifest_missing"]
    linked = make_session(tmp_path / "linked")
    (tmp_path / "secret.json").write_bytes(WHOLE)
    (linked / "manifest.json").symlink_to(tmp_path / "secret.json")
    assert codes(linked) == ["manifest_unreadable"]
    log = session_log()
    read_manifest(linked, log)
    assert log.entries()[0].reason == "cannot be read: a link, which is not followed"
    pipe = make_session(tmp_path / "pipe")
    os.mkfifo(pipe / "manifest.json")
    assert codes(pipe) == ["manifest_unreadable"]
    folder = make_session(tmp_path / "folder")
    (folder / "manifest.json").mkdir()
    assert codes(folder) == ["manifest_unreadable"]


def test_a_file_that_is_being_written_is_read_again(tmp_path, monkeypatch):
    folder = make_session(tmp_path / "one")
    path = folder / "manifest.json"
    path.write_bytes(WHOLE[:500])
    pauses = []

    def write_the_rest(seconds):
        pauses.append(seconds)
        path.write_bytes(WHOLE)

    monkeypatch.setattr(manifest_files.time, "sleep", write_the_rest)
    log = session_log()
    parts = read_manifest(folder, log)
    assert len(parts.images.names) == 6
    assert log.entries() == ()
    assert len(pauses) == 1


def test_of_an_enormous_file_only_the_beginning_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(manifest_files, "LARGEST_MANIFEST", len(WHOLE) - 1)
    monkeypatch.setattr(manifest_files, "HEAD_OF_LARGER", len(WHOLE) - 300)
    folder = make_session(tmp_path / "one", WHOLE)
    log = session_log()
    parts = read_manifest(folder, log)
    assert parts.snapshot == snapshot()
    assert not parts.images.is_whole
    assert [str(problem.code) for problem in log.entries()] == [
        "manifest_truncated",
        "manifest_too_large",
    ]
