"""A folder and an archive with the same names are the same dataset."""

from __future__ import annotations

import os
import tempfile
import zipfile
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from tasks.labels.dataset.layouts import LABEL_PRIORITY, find_dataset
from tasks.labels.dataset.listed_names import take_names_apart
from tasks.labels.dataset.pairing import NONE, find_and_pair
from tasks.releases.archive.directory import read_zip_directory
from tasks.releases.archive.member_checks import usable_members
from tasks.reports.problem_log import ProblemLog

FOLDERS = ["images", "labels", "train", "valid", "a", "b.c", "..", ".x", "Images", "annotations",
           "test", "__MACOSX", ".", "", "Thumbs.db"]  # fmt: skip
STEMS = ["x", "y", "X", "train", "test", "notes", "note 1", "readme", "classes", "labels", "z.b",
         "\xe9", "e\u0301", "note\xe0", "x.jpg", "data", "Thumbs", "obj", "val2017",
         "_darknet"]  # fmt: skip
SUFFIXES = [".jpg", ".PNG", ".txt", ".json", ".toon", ".xml", ".yaml", ".names", ".TXT", ".db",
            ".gif", ".cache", "", ".zip", ".labels", ".dng", "/", "/."]  # fmt: skip
PATHS = st.builds(
    lambda folders, slash, stem, suffix: slash.join([*folders, stem + suffix]),
    st.lists(st.sampled_from(FOLDERS[:5]) | st.sampled_from(FOLDERS), max_size=4),
    st.sampled_from(["/"] * 9 + ["\\"]),
    st.sampled_from(STEMS[:3]) | st.sampled_from(STEMS),
    st.sampled_from(SUFFIXES[:4]) | st.sampled_from(SUFFIXES),
)
NOTED = ("label_file_shadowed", "stem_shared", "label_extension_case", "dataset_root_extra")


def found_in_folder(paths: list[str]) -> dict[str, object]:
    layout = find_dataset(paths)
    return {
        "root": str(layout.root),
        "kind": layout.kind,
        "pairs": dict(zip(layout.images, layout.labels, strict=True)),
        "orphans": set(layout.labels_without_image),
        "yaml": layout.yaml_files,
        "classes": layout.class_lists,
        "json": layout.shared_files,
        "lists": layout.split_lists,
        "problems": sorted(
            (problem.code, problem.place) for problem in layout.problems if problem.code in NOTED
        ),
        # Which of two is named depends on the order of the listing.
        "conflicts": sum(problem.code == "case_conflict" for problem in layout.problems),
    }


def found_in_archive(paths: list[str]) -> dict[str, object]:
    log = ProblemLog(1000)
    with tempfile.TemporaryFile() as file:
        with zipfile.ZipFile(file, "w") as archive:
            for path in paths:
                entry = zipfile.ZipInfo("x")
                entry.filename = path
                archive.writestr(entry, b"")
        directory = read_zip_directory(
            file.fileno(), os.fstat(file.fileno()).st_size, Path("release.zip"), log
        )
    names = take_names_apart(directory.names, directory.name_ends)
    used, _ = usable_members(directory, names, log)
    files, pairs = find_and_pair(
        names, used, LABEL_PRIORITY, log, lambda member: names.name(member).decode()
    )

    def named(members) -> tuple[str, ...]:
        return tuple(names.name(member).decode() for member in members)

    labels = [None if label == NONE else named([label])[0] for label in pairs.labels]
    return {
        "root": "/".join(files.folders.root) or ".",
        "kind": files.folders.kind,
        "pairs": dict(zip(named(files.images), labels, strict=True)),
        "orphans": set(named(pairs.orphans)),
        "yaml": named(files.yaml_files),
        "classes": named(files.class_lists),
        "json": named(pairs.shared_files),
        "lists": tuple((named([member])[0], split) for member, split in files.split_lists),
        "problems": sorted(
            (problem.code, problem.place) for problem in log.entries() if problem.code in NOTED
        ),
        "conflicts": sum(problem.code == "case_conflict" for problem in log.entries()),
    }


@given(st.lists(PATHS, max_size=25, unique=True))
@example([])
@example(["labels/x.txt", "images/train/x.jpg", "images/x.jpg"])
def test_a_folder_and_an_archive_of_the_same_names_are_one_dataset(paths):
    assert found_in_archive(paths) == found_in_folder(paths)


def test_the_image_at_the_place_of_a_label_comes_before_others():
    paths = ["images/train/x.jpg", "images/x.jpg", "labels/x.txt"]
    found = found_in_folder(paths)
    assert found["pairs"] == {"images/train/x.jpg": None, "images/x.jpg": "labels/x.txt"}
    assert found["problems"] == [("stem_shared", "images/train/x.jpg")]


def test_names_that_differ_in_accents_are_one_file_elsewhere():
    paths = ["images/\xc9.jpg", "images/e\u0301.jpg", "labels/\xe9.txt"]
    assert found_in_folder(paths)["conflicts"] == 1
