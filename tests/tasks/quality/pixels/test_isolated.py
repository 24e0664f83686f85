"""Decoders that crash or hang cost one image each, and leave no process behind."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from storage.errors import ImageError, ImageErrorCode
from tasks.quality.pixels.isolated import IsolatedMeasurer, measure_image_safely
from tasks.quality.pixels.measurements import measure_image
from tests.places import ROOT

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

PILLOW = ROOT / "tests/data/pillow"
HOOK = "tests.tasks.quality.pixels.decoder_hooks:misbehave_by_name"


@pytest.fixture
def measurer():
    made = IsolatedMeasurer(workers=2, time_limit_s=30, before_each=HOOK)
    yield made
    made.close()


def worker_processes(of: int) -> set[psutil.Process]:
    found = set()
    for child in psutil.Process(of).children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if "tasks.quality.pixels.isolated_worker" in child.cmdline():
                found.add(child)
    return found


def copy_as(folder: Path, name: str) -> Path:
    return Path(shutil.copyfile(PILLOW / "hopper.webp", folder / name))


@pytest.mark.parametrize(
    "name", ["hopper.webp", "hopper.tif", "hopper.gif", "avif/hopper.avif", "16bit.cropped.jp2"]
)
def test_a_worker_gives_exactly_what_this_process_gives(name):
    assert measure_image_safely(PILLOW / name) == measure_image(PILLOW / name)


def test_jpeg_and_png_start_no_worker():
    script = """
        import os, psutil
        from pathlib import Path
        from tasks.quality.pixels.isolated import measure_image_safely
        for name in ("hopper.jpg", "hopper.png"):
            measure_image_safely(Path("tests/data/pillow") / name)
        print(len(psutil.Process(os.getpid()).children()))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.strip() == "0", done.stderr


def test_neither_the_caller_nor_the_worker_imports_prefect(tmp_path):
    # Called as a console script is: the main module is a file that must not be run again.
    script = tmp_path / "console-script"
    script.write_text(
        textwrap.dedent(
            f"""
            import os, sys, psutil
            from pathlib import Path
            print("main runs")
            from tasks.quality.pixels.isolated import measure_image_safely
            measure_image_safely(Path({str(PILLOW / "hopper.webp")!r}))
            assert "prefect" not in sys.modules
            [worker] = psutil.Process(os.getpid()).children()
            print(any("prefect" in mapped.path for mapped in worker.memory_maps()))
            """
        )
    )
    done = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split("\n")[:2] == ["main runs", "False"], done.stderr


def test_errors_of_the_worker_keep_code_and_reason():
    broken = PILLOW / "crash-2020-10-test.tif"
    with pytest.raises(ImageError) as here:
        measure_image(broken)
    with pytest.raises(ImageError) as there:
        measure_image_safely(broken)
    assert (there.value.code, there.value.reason) == (here.value.code, here.value.reason)


def test_the_expected_size_and_time_are_checked_in_the_worker(measurer):
    path = PILLOW / "hopper.webp"
    status = path.stat()
    known = (status.st_size, status.st_mtime_ns)
    assert measurer.measure(path, expected=known).file_size == status.st_size
    for expected in ((1, known[1]), (known[0], 1)):
        with pytest.raises(ImageError) as caught:
            measurer.measure(path, expected=expected)
        assert caught.value.code is ImageErrorCode.CHANGED


@pytest.mark.parametrize(("name", "words"), [("segfault", "SIGSEGV"), ("killed", "SIGKILL")])
def test_a_crash_fails_one_image_and_the_next_is_measured(measurer, tmp_path, name, words):
    with pytest.raises(ImageError) as caught:
        measurer.measure(copy_as(tmp_path, f"{name}.webp"))
    assert caught.value.code is ImageErrorCode.DECODER_CRASHED
    assert words in caught.value.reason
    assert measurer.measure(copy_as(tmp_path, "fine.webp")).width == 128


@pytest.mark.parametrize("name", ["hang", "stuck"])
def test_a_hanging_decoder_is_stopped(tmp_path, name):
    before = worker_processes(os.getpid())
    measurer = IsolatedMeasurer(workers=1, time_limit_s=0.5, before_each=HOOK)
    with pytest.raises(ImageError) as caught:
        measurer.measure(copy_as(tmp_path, f"{name}.webp"))
    assert caught.value.code is ImageErrorCode.DECODER_TIMED_OUT
    assert "0.5 s" in caught.value.reason
    assert worker_processes(os.getpid()) <= before
    measurer.close()


def test_an_unexpected_exception_is_reported_with_its_name(measurer, tmp_path):
    with pytest.raises(ImageError, match="ZeroDivisionError: planted"):
        measurer.measure(copy_as(tmp_path, "bug.webp"))


def test_images_in_flight_beside_a_crash_are_not_failed(measurer, tmp_path):
    names = [f"{i}-{'segfault' if i % 4 == 0 else 'fine'}.webp" for i in range(24)]
    paths = [copy_as(tmp_path, name) for name in names]

    def outcome(path: Path) -> str:
        try:
            return measurer.measure(path).perceptual_hash
        except ImageError as error:
            return error.code

    with ThreadPoolExecutor(6) as threads:
        outcomes = list(threads.map(outcome, paths))
    right = measure_image(paths[1]).perceptual_hash
    assert outcomes == [
        ImageErrorCode.DECODER_CRASHED if "segfault" in name else right for name in names
    ]
    assert len(worker_processes(os.getpid())) <= 4


def test_a_worker_that_died_idle_is_replaced_without_blaming_an_image(tmp_path):
    measurer = IsolatedMeasurer(workers=1, before_each=HOOK)
    fine = copy_as(tmp_path, "fine.webp")
    before = worker_processes(os.getpid())
    measurer.measure(fine)
    [worker] = worker_processes(os.getpid()) - before
    worker.send_signal(signal.SIGKILL)
    while worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert measurer.measure(fine).width == 128
    measurer.close()


def test_closing_ends_the_workers_and_measuring_again_starts_new_ones(tmp_path):
    measurer = IsolatedMeasurer(workers=1, before_each=HOOK)
    fine = copy_as(tmp_path, "fine.webp")
    before = worker_processes(os.getpid())
    measurer.measure(fine)
    measurer.close()
    assert worker_processes(os.getpid()) <= before
    assert measurer.measure(fine).width == 128
    measurer.close()


PARENT = """
    import os, sys, threading, time
    from pathlib import Path
    from tasks.quality.pixels.isolated import IsolatedMeasurer, measure_image_safely
    measure_image_safely(Path({fine!r}))
    measurer = IsolatedMeasurer(workers=1, time_limit_s=600, before_each={hook!r})
    measurer.measure(Path({fine!r}))
    busy = threading.Thread(target=measurer.measure, args=(Path({hang!r}),), daemon=True)
    {start}
    time.sleep(0.3)
    print("ready", flush=True)
    {then}
"""


@pytest.mark.parametrize("is_busy", [False, True], ids=["idle", "busy"])
@pytest.mark.parametrize("is_killed", [False, True], ids=["exits", "killed"])
def test_no_worker_outlives_the_parent(tmp_path, is_busy, is_killed):
    script = PARENT.format(
        fine=str(copy_as(tmp_path, "fine.webp")),
        hang=str(copy_as(tmp_path, "hang.webp")),
        hook=HOOK,
        start="busy.start()" if is_busy else "",
        then="sys.stdin.read()",
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    assert parent.stdin is not None
    assert parent.stdout.readline() == "ready\n"
    workers = worker_processes(parent.pid)
    assert len(workers) == 2
    if is_killed:
        parent.kill()
    parent.stdin.close()
    parent.wait()
    parent.stdout.close()
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert alive == []
