"""Writing files whole or not at all."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from storage.errors import DiskFullError
from storage.files import (
    atomic_file,
    file_lock,
    remove_leftovers,
    require_room,
    write_files,
)
from tests.storage.processes import kill, read_line, start_python

WRITE_HALF = """
    import sys
    from pathlib import Path
    from storage.files import atomic_file
    with atomic_file(Path(sys.argv[1])) as temporary:
        with temporary.open("w") as file:
            file.write("half")
            file.flush()
            print("written", flush=True)
            sys.stdin.readline()
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_file_appears_whole_with_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folders" / "ä b.txt"
    with atomic_file(path) as temporary:
        temporary.write_text("whole")
        assert temporary.parent == path.parent
        assert not path.exists()
    assert path.read_text() == "whole"
    assert names(path.parent) == [path.name]


def test_an_exception_leaves_the_old_content_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_file(path) as temporary:
        temporary.write_text("new")
        raise RuntimeError
    with pytest.raises(RuntimeError), atomic_file(path):
        raise RuntimeError  # before anything was written
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_a_killed_writer_leaves_the_old_content_and_a_leftover_that_is_found(
    tmp_path: Path,
) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    writer = start_python(WRITE_HALF, str(path))
    read_line(writer)
    kill(writer)
    assert path.read_text() == "old"
    (leftover,) = (name for name in names(tmp_path) if name != "file")
    changed = (tmp_path / leftover).stat().st_mtime
    assert remove_leftovers(tmp_path, older_than_seconds=60, now=changed + 59) == 0
    assert remove_leftovers(tmp_path, older_than_seconds=60, now=changed + 61) == 1
    assert names(tmp_path) == ["file"]


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """The limit on a file's size stands for the full disk: the write fails in the same way."""
    code = f"""
import resource, signal, sys
from pathlib import Path
from storage.files import atomic_file
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
with atomic_file(Path({str(tmp_path / "file")!r})) as temporary:
    temporary.write_bytes(bytes(5000))
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert b"File too large" in ended.stderr
    assert names(tmp_path) == []


def test_other_files_are_no_leftovers(tmp_path: Path) -> None:
    for name in (".hidden", "data.tmp", "file.parquet"):
        (tmp_path / name).touch()
    assert remove_leftovers(tmp_path, older_than_seconds=-1, now=1e12) == 0
    assert remove_leftovers(tmp_path / "missing", older_than_seconds=0, now=1e12) == 0


def test_several_files_are_written_and_replaced_together(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "here"
    write_files(folder, {str(number): bytes([number]) * number for number in range(20)})
    write_files(folder, {"3": b"new", "20": b""})
    write_files(folder, {})
    assert {path.name for path in folder.iterdir()} == {str(number) for number in range(21)}
    assert (folder / "3").read_bytes() == b"new"
    assert (folder / "19").read_bytes() == bytes([19]) * 19


def test_when_one_of_several_files_does_not_fit_none_is_there(tmp_path: Path) -> None:
    (tmp_path / "0").write_bytes(b"old")
    code = f"""
import resource, signal
from pathlib import Path
from storage.files import write_files
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
write_files(Path({str(tmp_path)!r}), {{"0": b"new", "1": bytes(5000), "2": b"new"}})
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert b"File too large" in ended.stderr
    assert names(tmp_path) == ["0"]
    assert (tmp_path / "0").read_bytes() == b"old"


@pytest.mark.parametrize("durable", [True, False])
def test_a_name_as_long_as_names_can_be_is_no_obstacle(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "folder" / ("x" * 255)
    with atomic_file(path, durable=durable) as temporary:
        temporary.write_text("whole")
    write_files(path.parent, {"y" * 255: b"whole"})
    assert names(path.parent) == ["x" * 255, "y" * 255]


def test_what_there_is_no_room_for_is_refused_before_it_is_begun(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there"
    free = shutil.disk_usage(tmp_path).free
    require_room(folder, 0)
    require_room(folder, free // 2)
    with pytest.raises(DiskFullError) as raised:
        require_room(folder, 1 << 60)
    message = str(raised.value)
    assert message.startswith(f"{1 << 60:,} bytes would be written to {folder}, where ")
    assert message.endswith("Nothing was written.")
    assert names(tmp_path) == []


HOLD_LOCK = """
    import sys
    from pathlib import Path
    from storage.files import file_lock
    with file_lock(Path(sys.argv[1])):
        print("held", flush=True)
        sys.stdin.readline()
"""


def test_a_lock_is_held_by_one_process_and_given_back_by_a_killed_one(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    holder = start_python(HOLD_LOCK, str(path))
    assert read_line(holder) == "held"
    with pytest.raises(BlockingIOError), file_lock(path, wait=False):
        raise AssertionError("two hold it")
    kill(holder)
    with file_lock(path):
        pass
    with file_lock(path, wait=False):
        pass
