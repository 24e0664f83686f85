"""The server of our own: starting, sharing, stopping, and coming back after every kind of death."""

from __future__ import annotations

import os
import signal
import socket
import stat
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import psycopg
import pytest
from sqlalchemy.exc import OperationalError

from storage.database.connection import Database, open_database
from storage.database.embedded_server import EmbeddedPostgreSQL
from storage.database.tables.jobs import JobKind, JobStatus
from storage.errors import DatabaseError
from storage.jobs.chunks import plan_job
from storage.jobs.held import HeldJob, start_job
from storage.jobs.records import find_job
from storage.settings import Settings
from tests.storage.processes import kill, read_line, start_python, wait_until

pytestmark = pytest.mark.services

USE = """
    import sys
    from pathlib import Path
    import psycopg
    from storage.database.embedded_server import EmbeddedPostgreSQL
    server = EmbeddedPostgreSQL(Path(sys.argv[1]))
    server.acquire()
    with psycopg.connect(server.url("postgres")) as connection:
        print(connection.execute("SHOW data_directory").fetchone()[0], flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def folder(public_folder: Path) -> Iterator[Path]:
    """A folder with an awkward path; a server that a failed test leaves in it is ended."""
    made = public_folder / f'it\'s "$H ä" {uuid.uuid4().hex[:6]} %'
    made.mkdir(mode=0o755)
    folder = made / "postgresql"
    yield folder
    if (process := server_process(folder)) is not None:
        process.send_signal(signal.SIGQUIT)
        process.wait(30)


def server_process(folder: Path) -> psutil.Process | None:
    """The server of a folder, if it runs."""
    try:
        number = int((folder / "data" / "postmaster.pid").read_text().split("\n")[0])
        process = psutil.Process(number)
        return process if process.cwd() == str(folder / "data") else None
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return None


def running(folder: Path) -> psutil.Process:
    process = server_process(folder)
    assert process is not None
    return process


def answer(server: EmbeddedPostgreSQL, query: str = "SELECT 1") -> object:
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        cursor = connection.execute(query)
        return cursor.fetchone() if cursor.description else None


def test_a_server_starts_and_stops_and_keeps_its_data(folder: Path) -> None:
    server = EmbeddedPostgreSQL(folder)
    server.acquire()
    server.acquire()
    answer(server, "CREATE TABLE kept AS SELECT 7 AS value")
    assert answer(server, "SHOW listen_addresses") == ("",)
    assert answer(server, "SHOW data_directory") == (str(folder / "data"),)
    server.release()
    server.release()
    assert server_process(folder) is None
    server.acquire()
    assert answer(server, "SELECT value FROM kept") == (7,)
    server.release()


def test_processes_share_a_server_and_the_last_one_out_stops_it(folder: Path) -> None:
    users = [start_python(USE, str(folder)) for _ in range(3)]
    assert {read_line(user) for user in users} == {str(folder / "data")}
    server = running(folder)
    for user in users[:2]:
        user.communicate("end\n", timeout=60)
        assert server.is_running()
    assert running(folder) == server
    users[2].communicate("end\n", timeout=60)
    assert [user.returncode for user in users] == [0, 0, 0]
    assert server_process(folder) is None


def test_a_killed_user_does_not_keep_the_server_running(folder: Path) -> None:
    killed, other = (start_python(USE, str(folder)) for _ in range(2))
    read_line(killed)
    read_line(other)
    kill(killed)
    assert server_process(folder) is not None
    other.communicate("end\n", timeout=60)
    assert server_process(folder) is None


def test_a_server_left_by_its_killed_last_user_is_taken_over(folder: Path) -> None:
    only = start_python(USE, str(folder))
    read_line(only)
    kill(only)
    left = running(folder)
    server = EmbeddedPostgreSQL(folder)
    server.acquire()
    assert running(folder) == left
    server.release()
    assert server_process(folder) is None


def test_two_uses_in_one_process_are_counted_apart(folder: Path) -> None:
    first, second = EmbeddedPostgreSQL(folder), EmbeddedPostgreSQL(folder)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(EmbeddedPostgreSQL.acquire, (first, second)))
    first.release()
    assert answer(second) == (1,)
    second.release()
    assert server_process(folder) is None


def test_a_killed_server_is_started_again_with_its_data(folder: Path) -> None:
    server = EmbeddedPostgreSQL(folder)
    server.acquire()
    answer(server, "CREATE TABLE kept AS SELECT 7 AS value")
    # A session that is at work when the server dies holds its memory for a little longer.
    session = psycopg.connect(server.url("postgres"))
    session.execute("SELECT 1")
    running(folder).kill()
    other = EmbeddedPostgreSQL(folder)
    other.acquire()
    assert answer(other, "SELECT value FROM kept") == (7,)
    session.close()
    server.release()
    assert answer(other) == (1,)
    other.release()
    assert server_process(folder) is None


def test_a_record_of_a_dead_server_whose_number_is_another_programs_is_no_obstacle(
    folder: Path,
) -> None:
    server = EmbeddedPostgreSQL(folder)
    server.acquire()
    record = folder / "data" / "postmaster.pid"
    lines = record.read_text().split("\n")
    running(folder).kill()
    server.release()
    bystander = start_python("input()")
    if os.geteuid() == 0:
        kill(bystander)
        bystander = start_python(
            """
            import os, pwd, time
            user = pwd.getpwnam("visionflows")
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)
            print("ready", flush=True)
            time.sleep(600)
            """
        )
        read_line(bystander)
    record.write_text("\n".join([str(bystander.pid), *lines[1:]]))
    server.acquire()
    assert answer(server) == (1,)
    assert bystander.poll() is None
    kill(bystander)
    server.release()


def test_a_server_whose_socket_was_swept_away_is_started_again(folder: Path) -> None:
    first, second = EmbeddedPostgreSQL(folder), EmbeddedPostgreSQL(folder)
    first.acquire()
    before = running(folder)
    for file in (folder / "socket").iterdir():
        file.unlink()
    second.acquire()
    assert answer(second) == (1,)
    assert running(folder) != before
    first.release()
    second.release()


def test_a_half_made_database_is_made_anew(folder: Path) -> None:
    unfinished = folder / "data.unfinished"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")
    server = EmbeddedPostgreSQL(folder)
    server.acquire()
    assert answer(server) == (1,)
    assert not unfinished.exists()
    server.release()


def test_a_process_killed_while_making_the_database_leaves_a_folder_that_works(
    folder: Path,
) -> None:
    maker = start_python(USE, str(folder))
    wait_until((folder / "data.unfinished").exists, "the database is being made")
    kill(maker)
    server = EmbeddedPostgreSQL(folder)
    server.acquire()
    assert answer(server) == (1,)
    server.release()


def test_somebody_elses_folder_is_not_touched(folder: Path) -> None:
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "diary.txt").write_text("dear diary")
    with pytest.raises(DatabaseError, match="move it away"):
        EmbeddedPostgreSQL(folder).acquire()
    assert (folder / "data" / "diary.txt").read_text() == "dear diary"


def test_a_server_that_cannot_start_is_reported_with_its_own_words(folder: Path) -> None:
    server = EmbeddedPostgreSQL(folder)
    server.acquire()
    server.release()
    (folder / "data" / "PG_VERSION").write_text("9\n")
    with pytest.raises(DatabaseError, match="incompatible"):
        server.acquire()


def test_a_line_break_in_the_path_is_refused(folder: Path) -> None:
    with pytest.raises(DatabaseError, match="line break"):
        EmbeddedPostgreSQL(folder.parent / "two\nlines").acquire()


def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatabaseError, match="cannot be started"):
        EmbeddedPostgreSQL(tmp_path / "file" / "postgresql").acquire()


@pytest.mark.parametrize("name", ["long " * 40, "with, comma", "with \\ backslash"])
def test_a_path_that_no_socket_can_have_is_no_obstacle(folder: Path, name: str) -> None:
    server = EmbeddedPostgreSQL(folder.parent / name)
    other = EmbeddedPostgreSQL(folder.parent / name)
    server.acquire()
    other.acquire()
    assert answer(server) == answer(other) == (1,)
    socket_folder = Path(str(answer(server, "SHOW unix_socket_directories")[0]))  # type: ignore[index]
    assert socket_folder.parent == Path("/tmp")
    assert stat.S_IMODE(socket_folder.stat().st_mode) == 0o700
    server.release()
    other.release()
    assert server_process(folder.parent / name) is None
    socket_folder.rmdir()


def test_the_place_of_the_socket_does_not_depend_on_the_process(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = EmbeddedPostgreSQL(folder.parent / ("long " * 40))
    before = server.url("postgres")
    monkeypatch.setenv("TMPDIR", str(folder))
    assert server.url("postgres") == before


def test_a_socket_folder_that_somebody_put_in_place_is_refused(folder: Path) -> None:
    server = EmbeddedPostgreSQL(folder.parent / ("long " * 40))
    place = Path(str(psycopg.conninfo.conninfo_to_dict(server.url("postgres"))["host"]))
    elsewhere = folder.parent / "elsewhere"
    elsewhere.mkdir()
    place.symlink_to(elsewhere)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(elsewhere / ".s.PGSQL.5432"))
    try:
        with pytest.raises(DatabaseError, match="belongs to another user"):
            server.acquire()
    finally:
        listener.close()
        place.unlink()


def test_nobody_elses_folders_are_opened_to_others(folder: Path) -> None:
    parent = folder.parent / "a b"
    parent.mkdir(mode=0o711)
    before = [path.stat().st_mode for path in (parent, *parent.parents)]
    server = EmbeddedPostgreSQL(parent / "c" / "d")
    server.acquire()
    assert [path.stat().st_mode for path in (parent, *parent.parents)] == before
    for private in ("data", "socket"):
        mode = (parent / "c" / "d" / private).stat().st_mode
        assert stat.S_IMODE(mode) == 0o700
    server.release()


def test_relative_folders_are_those_of_the_start(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    server = EmbeddedPostgreSQL(Path("postgresql"))
    monkeypatch.chdir("/")
    server.acquire()
    assert answer(server, "SHOW data_directory") == (str(folder / "data"),)
    server.release()


JOB = """
    import sys
    from pathlib import Path
    from storage.database.connection import open_database
    from storage.jobs.held import start_job
    from storage.jobs.chunks import plan_job
    from storage.jobs.records import find_job
    from storage.settings import Settings
    from storage.database.tables.jobs import JobKind
    database = open_database(Settings(postgresql_folder=Path(sys.argv[1])))
    with start_job(database, JobKind.QUALITY_METRICS, "subject") as job:
        plan_job(database, job.reference, [])
        print(find_job(database, job.id).is_held, job.finish({}).value, flush=True)
"""


def test_jobs_are_held_whatever_the_folder_is_called(folder: Path) -> None:
    users = [start_python(JOB, str(folder))]
    assert read_line(users[0]) == "True completed"
    users[0].communicate(timeout=60)
    assert users[0].returncode == 0
    assert server_process(folder) is None


def test_a_job_goes_on_after_its_server_was_killed(folder: Path) -> None:
    database: Database = open_database(Settings(postgresql_folder=folder))
    job = start_job(database, JobKind.QUALITY_METRICS, "subject")
    assert isinstance(job, HeldJob)

    def is_held() -> bool:
        try:
            return find_job(database, job.id).is_held
        except OperationalError:
            return False  # the first to meet the dead connection; a task tries again

    with job:
        plan_job(database, job.reference, [])
        running(folder).kill()
        # Nobody else starts it: whoever needs it next does, here the job and its flow.
        wait_until(is_held, "the lock is held again")
        assert job.finish({}) is JobStatus.COMPLETED

    def is_completed() -> bool:
        try:
            return find_job(database, job.id).status is JobStatus.COMPLETED
        except OperationalError:
            return False  # a session of the killed server may have lived until now

    wait_until(is_completed, "the end is there")
    database.engine.dispose()
