"""What `make demo` runs, as a process of its own, and every page that then shows it."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from contextlib import contextmanager
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
import uvicorn

from deployments.server.processes import free_port
from deployments.web.application import create_application
from storage.settings import get_settings
from tests.end_to_end.browser import NAMES as BROWSERS
from tests.end_to_end.browser import find_browser, opened_page
from tests.places import DATA, ROOT

DEMO = ROOT / "samples" / "demo.py"
# Of pages that differ only in what they are about, or in how that is sorted.
MOST_ALIKE = 1


@pytest.fixture
def run_demo(prefect_client, home):
    def run():
        done = subprocess.run(
            [sys.executable, str(DEMO)], capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return [" ".join(line.split()) for line in done.stdout.splitlines()]

    return run


def test_the_demo_shows_every_flow_and_can_be_repeated(run_demo):
    first = run_demo()
    assert any(line.startswith("29 measured and 2 failed in this run") for line in first)
    # As samples/mussels/pictures/counts.json says.
    assert "0 live polygon 29 10 23 6 29" in first
    assert "1 dead polygon 18 9 15 3 18" in first
    place = first.index("mussels, mussels at 320 pixels, threshold 0.5")
    assert any("12 of 12 images done, 0 failed" in line for line in first[place : place + 4])
    assert any("52 images, 67 expected; 3 incomplete" in line for line in first)
    again = run_demo()
    assert _commands(again) == _commands(first) != []
    assert any(line.startswith("0 measured and 0 failed in this run") for line in again)
    assert any("0 computed and 0 failed in this run, 7 unchanged" in line for line in again)


def _commands(lines):
    """The commands that do not name a run."""
    return [
        line
        for line in lines
        if line.startswith("$ VISIONFLOWS_HOME=") and "runs compare" not in line
    ]


@contextmanager
def served_pages():
    """The web application on a port of its own."""
    port = free_port(24800)
    server = uvicorn.Server(
        uvicorn.Config(
            create_application(get_settings()), host="127.0.0.1", port=port, log_level="error"
        )
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def check_slider(page, site, run):
    """The slider of a run's page counts what is kept, at ten thresholds."""
    classes = httpx.get(f"{site}/api/v1{run}/curve").json()["data"]["classes"]
    page.visit(site + run)
    page.wait_for("document.documentElement.dataset.ready === 'threshold'")
    for thousandths in (50, 100, 200, 330, 400, 500, 600, 700, 850, 950):
        shown = page.evaluate(
            "(() => { const slider = document.querySelector('#threshold');"
            f"slider.value = {thousandths / 1000};"
            "slider.dispatchEvent(new Event('input', {bubbles: true}));"
            "return Object.fromEntries([...document.querySelectorAll('[data-count]')]"
            ".map(one => [one.dataset.count, Number(one.textContent.replace(/,/g, ''))])); })()"
        )
        assert shown == {name: counts[thousandths] for name, counts in classes.items()}


@pytest.mark.skipif(find_browser() is None, reason=f"none of {', '.join(BROWSERS)} is installed")
def test_every_page_of_the_demo_is_whole_and_keeps_nobody_out(run_demo, tmp_path):
    run_demo()
    with (
        served_pages() as site,
        opened_page(find_browser(), tmp_path / "profile") as page,
    ):
        page.watch()
        seen, waiting, alike = {"/"}, ["/"], {}
        while waiting:
            path = waiting.pop(0)
            for width, dark in ((1440, False), (390, True)):
                page.look(width, 1000, dark=dark)
                page.visit(site + path)
                assert page.evaluate("document.title").endswith("visionflows"), path
                assert page.evaluate("document.documentElement.scrollWidth") <= width, path
                assert page.barriers(DATA / "axe" / "axe.min.js") == [], (path, width)
            for found in page.evaluate("[...document.links].map(a => a.getAttribute('href'))"):
                address = urlsplit(urljoin(site + path, found))
                other = f"{address.path}?{address.query}" if address.query else address.path
                kind = re.sub(r"[0-9a-f-]{36}", "ID", address.path)
                # A report is a file to keep, see tests/deployments/web/pages/test_sent_reports.py.
                is_page = (
                    address.path != "/report"
                    and address.netloc == urlsplit(site).netloc
                    and not other.startswith("/api/")
                )
                if is_page and other not in seen and alike.get(kind, 0) < MOST_ALIKE:
                    seen.add(other)
                    waiting.append(other)
                    alike[kind] = alike.get(kind, 0) + 1
        run = next(path for path in seen if re.fullmatch(r"/runs/[0-9a-f-]{36}", path))
        check_slider(page, site, run)
        assert page.complaints() == []
        assert [one for one in page.requested() if not one.startswith((site, "data:"))] == []
    kinds = {"/", "/projects/ID", "/projects/ID/images", "/projects/ID/duplicates", "/images/ID"}
    kinds |= {"/releases", "/releases/ID", "/sessions", "/session-grid", "/start"}
    kinds |= {"/evaluations", "/evaluations/ID", "/evaluations/ID/images", "/models"}
    kinds |= {"/runs", "/runs/ID", "/runs/ID/images/ID", "/jobs", "/jobs/ID", "/collections"}
    assert kinds - {"/"} <= alike.keys()
