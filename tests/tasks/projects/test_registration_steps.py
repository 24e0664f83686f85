"""Registering real folders in a real database: what is read, what changes, what is refused."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading

import pytest
from sqlalchemy import text

from storage.database.tables.jobs import JobKind
from storage.errors import InvalidInputError, JobAtWorkError
from storage.jobs.held import start_job
from storage.projects.images import RegistrationCounts
from storage.projects.projects import list_projects
from tasks.projects.registration_steps import register_project
from tests.places import DATA
from tests.tasks.images.test_folder_scan import as_ordinary_user, put

PHOTOGRAPH = DATA / "exif-orientation" / "Landscape_6.jpg"


def counts(**changed):
    """The counts of a registration; what is not named is 0."""
    nothing = dict.fromkeys(("added", "changed", "moved", "returned", "missing", "relabeled"), 0)
    return RegistrationCounts(**nothing | changed)


@pytest.fixture
def folder(tmp_path):
    """Ten files of different content; two of them are images that have a header."""
    made = tmp_path / "photographs"
    put(made, *(f"{number}.jpg" for number in range(8)))
    shutil.copy(PHOTOGRAPH, made / "turned.jpg")
    shutil.copy(DATA / "pillow" / "transparent.gif", made / "animation.gif")
    return made


@pytest.fixture
def socket_for_all(public_folder):
    """An ordinary user may connect as well: a registration has a connection of its own."""
    own = public_folder / "postgresql"
    places = [own, own / "socket", *(own / "socket").glob(".s.PGSQL.*[0-9]")]
    modes = [place.stat().st_mode for place in places]
    for place in places:
        place.chmod(0o777)
    yield
    for place, mode in zip(places, modes, strict=True):
        place.chmod(mode)


@pytest.fixture
def register(database, folder):
    def run(name="p", place=folder, **options):
        return register_project(database, name, place, workers=2, **options)

    return run


@pytest.fixture
def rows(database):
    def read(columns="relative_path, state"):
        with database.transaction() as connection:
            return connection.execute(
                text(
                    f"SELECT {columns} FROM project_images i JOIN projects p ON p.id = project_id "
                    "JOIN shared_images s ON s.id = i.shared_image_id "
                    'ORDER BY p.name, relative_path COLLATE "C"'
                )
            ).all()

    return read


def test_every_image_is_registered_with_what_its_header_tells(register, rows, folder):
    done = []
    registration = register(progress=lambda *counts: done.append(counts))
    assert registration.counts == counts(added=10, changed=0, returned=0, missing=0)
    assert registration.problems == []
    assert (registration.project.name, registration.project.path) == ("p", folder)
    assert (registration.project.image_count, registration.project.missing_count) == (10, 0)
    assert done == [(number, 10) for number in range(11)]
    stored = {
        row.filename: row
        for row in rows("filename, sha256, width, height, format, i.file_size, modified_at_ns")
    }
    for path in folder.iterdir():
        row = stored[path.name]
        assert row.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert row.file_size == path.stat().st_size
        assert row.modified_at_ns == path.stat().st_mtime_ns
    turned = stored["turned.jpg"]
    assert (turned.width, turned.height, turned.format) == (1800, 1200, "JPEG"), "as displayed"
    assert stored["animation.gif"].format == "GIF"
    # What has no readable header is registered all the same: measuring says what is wrong.
    assert (stored["0.jpg"].width, stored["0.jpg"].format) == (None, None)


def test_looking_again_reads_nothing_that_has_size_and_time_of_before(register, rows, folder):
    register()
    before = rows("relative_path, sha256")
    stamp = (folder / "3.jpg").stat()
    (folder / "3.jpg").write_bytes(b"other")
    os.utime(folder / "3.jpg", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    reads = []
    registration = register(progress=lambda *counts: reads.append(counts))
    assert registration.counts == counts()
    assert reads == [(10, 10)], "nothing is read, all are counted as they are"
    assert rows("relative_path, sha256") == before, "the file was not read, so nobody noticed"


@pytest.mark.parametrize("change", ["content", "time"])
def test_a_changed_file_is_read_again(register, rows, folder, change):
    register()
    if change == "content":
        (folder / "3.jpg").write_bytes(b"of another size")
    else:
        (folder / "3.jpg").write_bytes(b"3.JPG")
        os.utime(folder / "3.jpg", ns=(0, 1))
    content = (folder / "3.jpg").read_bytes()
    reads = []
    registration = register(progress=lambda *counts: reads.append(counts))
    assert reads == [(9, 10), (10, 10)], "one is read, the others are counted as they are"
    assert registration.counts == counts(added=0, changed=1, returned=0, missing=0)
    stored = dict(tuple(row) for row in rows("relative_path, sha256"))
    assert stored["3.jpg"] == hashlib.sha256(content).hexdigest()


def test_a_file_that_goes_is_missing_and_is_known_when_it_returns(register, rows, folder):
    register()
    ids = dict(tuple(row) for row in rows("relative_path, i.id"))
    (folder / "3.jpg").rename(folder / ".3.jpg")
    registration = register()
    assert registration.counts == counts(added=0, changed=0, returned=0, missing=1)
    assert (registration.project.image_count, registration.project.missing_count) == (9, 1)
    assert ("3.jpg", "missing") in [tuple(row) for row in rows()]

    assert register().counts == counts(), "it is told once"

    (folder / ".3.jpg").rename(folder / "3.jpg")
    reads = []
    registration = register(progress=lambda *counts: reads.append(counts))
    assert registration.counts == counts(added=0, changed=0, returned=1, missing=0)
    assert reads == [(10, 10)], "nothing is read, all are counted as they are"
    assert dict(tuple(row) for row in rows("relative_path, i.id")) == ids


def test_a_renamed_file_is_the_same_image_at_another_place(register, rows, folder):
    register()
    before = dict(tuple(row) for row in rows("relative_path, i.id"))
    (folder / "3.jpg").rename(folder / "three.jpg")
    assert register().counts == counts(moved=1, relabeled=0)
    assert dict(tuple(row) for row in rows("relative_path, i.id")) == {
        path.replace("3.jpg", "three.jpg"): image_id for path, image_id in before.items()
    }


def test_a_renamed_folder_is_no_loss(register, rows, folder, tmp_path):
    for number in range(8):
        (folder / "old").mkdir(exist_ok=True)
        (folder / f"{number}.jpg").rename(folder / "old" / f"{number}.jpg")
    register()
    before = rows("i.id")
    (folder / "old").rename(folder / "new")
    assert register().counts == counts(moved=8)
    assert sorted(rows("i.id")) == sorted(before)


def test_up_to_a_tenth_may_go_and_no_more_without_consent(register, rows, folder):
    register()
    before = rows()
    (folder / "0.jpg").unlink()
    (folder / "1.jpg").unlink()
    put(folder, "new.jpg")
    with pytest.raises(InvalidInputError, match=r"2 of 10 images .*--accept-losses") as refused:
        register()
    assert "Nothing was changed" in str(refused.value)
    assert rows() == before

    put(folder, "1.jpg")  # one of ten is gone now, and this one is the same as before
    assert register().counts == counts(added=1, changed=0, returned=0, missing=1)

    (folder / "2.jpg").unlink()
    (folder / "3.jpg").unlink()
    registration = register(accept_losses=True)
    assert registration.counts.missing == 2
    assert (registration.project.image_count, registration.project.missing_count) == (8, 3)


def test_an_emptied_folder_changes_nothing_without_consent(register, rows, folder):
    register()
    before = rows()
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(InvalidInputError, match=r"no image in .*nothing was changed"):
        register()
    assert rows() == before
    assert register(accept_losses=True).counts.missing == 10


@pytest.mark.parametrize("accept_losses", [False, True])
def test_a_folder_without_images_becomes_no_project(register, database, tmp_path, accept_losses):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInputError, match="no image in"):
        register(place=tmp_path / "empty", accept_losses=accept_losses)
    with pytest.raises(InvalidInputError, match="is not a folder"):
        register(place=tmp_path / "gone", accept_losses=accept_losses)
    assert list_projects(database) == []


def test_images_in_a_folder_that_cannot_be_read_are_not_gone(
    database, public_folder, rows, socket_for_all
):
    folder = public_folder / "registered"
    put(folder, "a.jpg", "closed/b.jpg", "closed/c.jpg")
    folder.chmod(0o755)
    register_project(database, "p", folder, workers=1)
    (folder / "closed").chmod(0)
    try:
        with as_ordinary_user():
            registration = register_project(database, "p", folder, workers=1)
    finally:
        (folder / "closed").chmod(0o755)
    assert registration.counts == counts()
    assert registration.problems == ["closed: Permission denied"]
    assert {row.state for row in rows()} == {"present"}


def test_a_file_that_cannot_be_read_is_left_out_with_the_reason(
    database, public_folder, rows, socket_for_all
):
    folder = public_folder / "with a closed file"
    put(folder, "a.jpg", "closed.jpg")
    folder.chmod(0o755)
    (folder / "a.jpg").chmod(0o644)
    (folder / "closed.jpg").chmod(0)
    with as_ordinary_user():
        registration = register_project(database, "p", folder, workers=1)
    assert registration.problems == ["closed.jpg: Permission denied"]
    assert [row.relative_path for row in rows()] == ["a.jpg"]


def test_a_file_that_changes_while_it_is_read_is_left_for_the_next_look(register, rows, folder):
    # The file grows as long as the folder is looked through, so that it has another size when it
    # is read than when it was found.
    put(folder, *(f"many/{number}.jpg" for number in range(1500)))
    stopped = threading.Event()

    def grow():
        with (folder / "growing.jpg").open("ab", buffering=0) as file:
            while not stopped.is_set():
                file.write(b"more")

    growing = threading.Thread(target=grow)
    growing.start()
    while not (folder / "growing.jpg").exists():
        pass
    try:
        registration = register()
    finally:
        stopped.set()
        growing.join()
    (problem,) = registration.problems
    assert problem.startswith("growing.jpg: changed while it was read")
    assert "growing.jpg" not in {row.relative_path for row in rows()}
    assert register().counts == counts(added=1, changed=0, returned=0, missing=0)


def test_one_name_is_one_folder_and_one_folder_one_name(register, database, folder, tmp_path):
    register("p")
    put(tmp_path, "other/a.jpg")
    with pytest.raises(InvalidInputError, match=r"'p' is registered with the folder .*photogr"):
        register("p", tmp_path / "other")
    with pytest.raises(InvalidInputError, match="is registered as project 'p'"):
        register("q")
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(InvalidInputError, match="is registered as project 'p'"):
        register("q", tmp_path / "link")
    register("p", folder / ".." / folder.name)
    assert [(project.name, project.path) for project in list_projects(database)] == [("p", folder)]


def test_the_same_content_is_stored_once_for_all_places_and_projects(
    register, rows, folder, tmp_path, database
):
    shutil.copytree(folder, folder / "copy")
    register("p")
    shutil.copytree(folder, tmp_path / "other")
    register("q", tmp_path / "other")
    assert len(rows()) == 40
    assert len(set(rows("sha256"))) == 10
    with database.transaction() as connection:
        assert connection.scalar(text("SELECT count(*) FROM shared_images")) == 10


def test_odd_file_names_are_stored_as_they_are(register, rows, tmp_path):
    names = ["new\nline.jpg", "tab\there.jpg", "back\\slash.jpg", "'\".jpg", "[red].jpg", "\\N.jpg"]
    put(tmp_path / "odd", *names)
    register(place=tmp_path / "odd")
    assert [row.relative_path for row in rows()] == sorted(names)


@pytest.mark.parametrize(
    "name",
    ["", " ", " p", "p\n", "two\nlines", "bell\a", os.fsdecode(b"\xff"), "line\u2028separator"],
)
def test_names_that_nobody_could_type_or_read_are_refused(register, database, name):
    with pytest.raises(InvalidInputError, match="is not a name") as refused:
        register(name)
    assert "\n" not in str(refused.value)
    assert list_projects(database) == []


def test_the_id_of_a_project_is_no_name(register, database, tmp_path):
    known = register("p").project
    put(tmp_path, "other/a.jpg")
    with pytest.raises(InvalidInputError, match="mistaken for an id"):
        register(str(known.id), tmp_path / "other")


@pytest.mark.parametrize("name", ["[bold]p[/bold]", "Möwen 🐦", "a/b", "--force", "'; --", "%s {}"])
def test_other_names_are_kept_as_they_are(register, database, name):
    assert register(name).project.name == name
    assert [project.name for project in list_projects(database)] == [name]


@pytest.mark.parametrize("place", ["~nobody-of-this-name/x", os.fsdecode(b"/tmp/\xff")])
def test_a_path_that_cannot_be_is_refused_in_one_sentence(register, tmp_path, place):
    with pytest.raises(InvalidInputError) as refused:
        register(place=type(tmp_path)(place))
    str(refused.value).encode("utf-8")


def test_images_that_are_known_to_be_masks_by_now_are_no_losses(register, rows, folder):
    put(folder, *(f"SegmentationClass/{number}.png" for number in range(9)))
    assert register().project.image_count == 19
    # Beside a folder of images they are masks.
    put(folder, "JPEGImages/0.jpg", "JPEGImages/1.jpg")
    registration = register()
    assert registration.counts.missing == 9
    assert registration.project.image_count == 12
    assert [problem.code for problem in registration.label_problems] == ["label_file_unread"]


def test_of_two_registrations_at_once_the_second_waits_and_sees_what_the_first_has_done(
    register, folder, rows
):
    seen = []

    def second():
        put(folder, "later.jpg")
        seen.append(register())

    thread = threading.Thread(target=second)

    def begin(done, total):
        if done == 1:
            thread.start()
            thread.join(0.5)
            assert thread.is_alive() and seen == []

    assert register(progress=begin).counts == counts(added=10)
    thread.join(30)
    assert seen[0].counts == counts(added=1)
    assert len(rows()) == 11


def test_one_that_is_broken_off_takes_nothing_from_the_one_that_waits(register, rows):
    seen = []
    thread = threading.Thread(target=lambda: seen.append(register()))

    def broken(done, total):
        thread.start()
        thread.join(0.3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        register(progress=broken)
    thread.join(30)
    assert seen[0].counts == counts(added=10) and len(rows()) == 10


def test_while_an_ingest_is_at_work_nothing_is_registered(register, database):
    project = register().project
    with (
        start_job(database, JobKind.INGEST_PROJECT, str(project.id)),
        pytest.raises(JobAtWorkError, match="ingest-project"),
    ):
        register()
