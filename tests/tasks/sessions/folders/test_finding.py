from __future__ import annotations

import os

import pytest

from storage.errors import InvalidInputError
from tasks.sessions.folders.content import scan_folder
from tasks.sessions.folders.finding import (
    DEEPEST_FOLDER,
    find_sessions,
    fingerprint_session,
    is_image_name,
)
from tasks.sessions.problems import session_log
from tests.tasks.sessions.session_samples import make_session, manifest


def ids_of(found):
    return [session.session_id for session in found.sessions]


def codes_of(problems):
    return {str(problem.code): problem.count for problem in problems}


def test_a_folder_with_a_manifest_or_an_image_is_a_session(tmp_path):
    make_session(tmp_path / "b_manifest", manifest(0))
    make_session(tmp_path / "a_image", images=1)
    make_session(tmp_path / ".hidden", manifest(0))
    (tmp_path / "empty").mkdir()
    make_session(tmp_path / "notes")
    (tmp_path / "notes" / "readme.txt").touch()
    (tmp_path / "stray.png").touch()
    found = find_sessions(tmp_path)
    assert ids_of(found) == ["a_image", "b_manifest"]
    assert [session.fingerprint.has_manifest for session in found.sessions] == [False, True]
    assert [session.path for session in found.sessions] == [
        tmp_path / "a_image",
        tmp_path / "b_manifest",
    ]
    assert found.problems == ()


def test_sessions_may_be_sorted_into_folders(tmp_path):
    make_session(tmp_path / "2025" / "october" / "one", images=1)
    make_session(tmp_path / "2025" / "two", images=1)
    # folders in a session belong to it
    make_session(tmp_path / "2025" / "two" / "thumbnails", images=1)
    assert ids_of(find_sessions(tmp_path)) == ["2025/october/one", "2025/two"]


def test_folders_too_deep_are_told(tmp_path):
    deep = tmp_path.joinpath(*"abcdefgh"[: DEEPEST_FOLDER + 1])
    make_session(deep, images=1)
    found = find_sessions(tmp_path)
    assert found.sessions == ()
    assert codes_of(found.problems) == {"folder_too_deep": 1}


def test_links_to_folders_are_not_followed(tmp_path):
    outside = make_session(tmp_path / "outside", manifest(0))
    root = tmp_path / "root"
    make_session(root / "own", manifest(0))
    (root / "linked").symlink_to(outside)
    (root / "circle").symlink_to(root)
    (root / "broken").symlink_to(root / "nowhere")
    found = find_sessions(root)
    assert ids_of(found) == ["own"]
    assert {problem.place for problem in found.problems} == {"circle", "linked"}


def test_names_that_are_not_utf8_are_told(tmp_path):
    name = os.fsdecode(b"caf\xe9")
    try:
        (tmp_path / name).mkdir()
    except OSError:
        return  # a file system that takes UTF-8 only
    make_session(tmp_path / name, images=1)
    found = find_sessions(tmp_path)
    assert found.sessions == ()
    assert codes_of(found.problems) == {"folder_name_not_utf8": 1}


def test_named_sessions_are_found_without_a_search(tmp_path):
    make_session(tmp_path / "one", images=1)
    make_session(tmp_path / "group" / "two", manifest(0))
    assert ids_of(find_sessions(tmp_path, ["group/two", "one", "one"])) == ["group/two", "one"]
    assert ids_of(find_sessions(tmp_path, [])) == []


@pytest.mark.parametrize(
    "session_id",
    [
        "",
        ".",
        "..",
        "../root/one",
        "one/../one",
        "/etc",
        "one/",
        "./one",
        "a\0b",
        "no_such",
        "empty",
    ],
)
def test_what_is_no_id_of_a_session_is_refused(tmp_path, session_id):
    root = tmp_path / "root"
    make_session(root / "one", images=1)
    (root / "empty").mkdir()
    with pytest.raises(InvalidInputError):
        find_sessions(root, [session_id])


def test_an_id_does_not_lead_through_a_link(tmp_path):
    outside = make_session(tmp_path / "outside", manifest(0))
    root = tmp_path / "root"
    root.mkdir()
    (root / "linked").symlink_to(outside)
    with pytest.raises(InvalidInputError, match="link"):
        find_sessions(root, ["linked"])


def test_a_root_that_is_no_folder_is_refused(tmp_path):
    with pytest.raises(InvalidInputError, match="is not a folder"):
        find_sessions(tmp_path / "missing")
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInputError, match="is not a folder"):
        find_sessions(tmp_path / "file")
    with pytest.raises(InvalidInputError, match="is not a folder"):
        fingerprint_session(tmp_path / "file")


def test_the_fingerprint_changes_with_what_the_statistics_depend_on(tmp_path):
    folder = make_session(tmp_path / "one", manifest(2), images=2)
    seen = [fingerprint_session(folder)]
    assert fingerprint_session(folder) == seen[0]
    (folder / "img_0002.png").touch()
    seen.append(fingerprint_session(folder))
    (folder / "img_0000.png").unlink()
    seen.append(fingerprint_session(folder))
    (folder / "manifest.json").write_text("{}")
    seen.append(fingerprint_session(folder))
    (folder / "manifest.json").unlink()
    seen.append(fingerprint_session(folder))
    assert len(set(seen)) == len(seen)
    assert [item.has_manifest for item in seen] == [True, True, True, True, False]


def test_sessions_with_a_manifest_are_found_without_a_look_into_their_folders(
    tmp_path, monkeypatch
):
    for name in ("one", "two"):
        make_session(tmp_path / name, manifest(2), images=2)
    looked_into, opened = [], []
    scandir = os.scandir

    def watched(folder):
        looked_into.append(os.fspath(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", watched)
    monkeypatch.setattr(os, "open", lambda path, *_: opened.append(path))
    assert len(find_sessions(tmp_path).sessions) == 2
    assert (looked_into, opened) == ([str(tmp_path)], [])


def test_a_folder_named_like_a_manifest_is_none(tmp_path):
    (tmp_path / "one" / "manifest.json").mkdir(parents=True)
    assert not fingerprint_session(tmp_path / "one").has_manifest
    assert find_sessions(tmp_path).sessions == ()


@pytest.mark.parametrize("name", ["a.png", "A.PNG", "b.Jpg", "c.JPEG", "d.webp", "e.x.WebP"])
def test_suffixes_in_any_case_are_images(name):
    assert is_image_name(name)


@pytest.mark.parametrize(
    "name",
    ["a.gif", "png", "a.png.txt", "a.pngx", ".png", "._a.png", ".thumb.jpg", "manifest.json"],
)
def test_other_names_are_no_images(name):
    assert not is_image_name(name)


def test_only_regular_files_directly_in_the_folder_count(tmp_path):
    folder = tmp_path / "one"
    folder.mkdir()
    for name in ("a.png", "B.PNG", "c.jpeg", "d.JPG", "e.WEBP", "notes.txt", "._a.png"):
        (folder / name).write_bytes(b"x")
    (folder / "empty.png").touch()
    (folder / "folder.png").mkdir()
    (folder / "sub").mkdir()
    (folder / "sub" / "f.png").touch()
    (folder / "link.png").symlink_to(folder / "a.png")
    (folder / "broken.png").symlink_to(folder / "nowhere.png")
    os.mkfifo(folder / "pipe.png")
    os.utime(folder / "B.PNG", ns=(5, 1_000_000_000))
    os.utime(folder / "c.jpeg", ns=(5, 9_000_000_000_000_000_000))
    log = session_log()
    content = scan_folder(folder, log)
    assert sorted(content.names) == ["B.PNG", "a.png", "c.jpeg", "d.JPG", "e.WEBP", "empty.png"]
    assert content.first_mtime_ns == 1_000_000_000
    assert content.last_mtime_ns == 9_000_000_000_000_000_000
    assert codes_of(log.entries()) == {
        "image_empty": 1,
        "image_not_a_file": 2,
        "image_is_link": 2,
    }


def test_a_folder_without_images_has_no_times(tmp_path):
    content = scan_folder(tmp_path, session_log())
    assert (content.names, content.first_mtime_ns, content.last_mtime_ns) == ((), None, None)
