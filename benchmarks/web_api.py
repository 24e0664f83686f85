"""The HTTP API over a project of a million images, and with many clients at once.

    python -m benchmarks.web_api [--images 1000000] [--pollers 50] [--seconds 20] [--uploads 100]

Makes the rows in a scratch database, and asks the application in a process of its own
over HTTP: pages of images under filters and orders (the first and the second page), 50 clients
that ask for progress every 2 seconds, and 100 uploads of 20 MB at once. What was asked of it: a
page within 200 ms at the 95th percentile, polling under 5 % of a core, memory that stays flat.
"""

from __future__ import annotations

import base64
import importlib
import os
import random
import socket
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import httpx

from benchmarks.harness import parse_arguments, print_table, scratch_home
from storage.database.connection import Database, driver_connection, open_database
from storage.database.tables.quality import SORTED_COLUMNS
from storage.settings import get_settings

_FILTERS = (
    "",
    *(f"state={state}" for state in ("present", "measured", "unmeasured", "failed", "missing")),
    *(f"issue={issue}" for issue in ("blur", "low_brightness", "duplicate", "low_information")),
    *("labeled=true", "labeled=false", "split=test", "split=none"),
    *("issue=low_brightness&labeled=false&split=val", "state=missing&split=test"),
    *("duplicate_group=7", "issue=high_brightness&state=failed"),
    *("class=common", "class=tenth", "class=rare", "class=tenth&issue=blur&split=train"),
)
_SERVE = """
import sys, uvicorn
from deployments.web.application import create_application
from deployments.web.files.receiving import SmallPieces
from storage.settings import get_settings
uvicorn.run(create_application(get_settings()), host="127.0.0.1", port=int(sys.argv[1]),
            http=SmallPieces, log_level="error")
"""
_TUS = {"Tus-Resumable": "1.0.0"}
_MEBIBYTE = 1 << 20
_UPLOAD_BYTES = 20 * _MEBIBYTE


def make_rows(database: Database, count: int) -> UUID:
    """A project with so many images: every state, split and issue, many equal values."""
    project_id = UUID(int=1)
    folder = get_settings().projects_folder / str(project_id) / "raw_data"
    folder.mkdir(parents=True)
    contents = f"""
        SELECT n, md5(n::text)::uuid AS id, random() AS a, random() AS b, random() AS c,
               random() AS d FROM generate_series(1, {count}) n
    """  # noqa: S608 (a number)
    with database.transaction() as connection:
        run = driver_connection(connection).execute
        run("SELECT setseed(0.5)")
        # Triggers and indices of a million rows at once, not one by one.
        run("SET LOCAL session_replication_role = replica")
        run("SET LOCAL maintenance_work_mem = '512MB'")
        run(
            "INSERT INTO projects (id, name, path, description) VALUES (%s, 'million', %s, '')",
            [project_id, str(folder)],
        )
        run(f"CREATE TEMPORARY TABLE made ON COMMIT DROP AS {contents}")
        run(
            "INSERT INTO shared_images (id, sha256, file_path, width, height, file_size, format) "
            "SELECT id, md5(id::text) || md5(n::text), '/x', 640, 480, 1000 + n % 5000, 'JPEG' "
            "FROM made"
        )
        run(
            "INSERT INTO project_images (id, project_id, shared_image_id, relative_path, filename, "
            "file_size, modified_at_ns, state, split, is_labeled) SELECT id, %s, id, "
            "'images/' || (n::bigint * 7919) %% 1000003 || '.jpg', n || '.jpg', "
            "1000 + n %% 5000, 1, "
            "CASE WHEN c < 0.002 THEN 'missing'::project_image_state ELSE 'present' END, "
            "CASE WHEN d < 0.01 THEN NULL WHEN d < 0.8 THEN 'train' WHEN d < 0.95 THEN 'val' "
            "ELSE 'test' END, b < 0.6 FROM made",
            [project_id],
        )
        run(
            "INSERT INTO image_quality_metrics (shared_image_id, status, sharpness, "
            "sharpness_variance, focus, brightness, contrast, red_avg, green_avg, blue_avg, "
            "entropy, clipped_black, clipped_white, perceptual_hash, difference_hash, "
            "low_information, error_code, error_message, metrics_version, pillow_version, "
            "opencv_version) SELECT id, CASE WHEN d < 0.003 THEN 'failed'::measurement_status "
            "ELSE 'completed' END, a, a * 500, b, a, c, a, b, c, 8 * d, round(a::numeric, 1), "
            "0, substr(md5(n::text), 1, 16), substr(md5(n::text), 1, 16), false, 'corrupt', "
            "CASE WHEN d < 0.003 THEN 'damaged' END, 2, '12', '5' FROM made WHERE d < 0.99"
        )
        run(
            "INSERT INTO project_image_quality (project_image_id, uniqueness, nearest_distance, "
            "duplicate_group, overall_quality, issues, sharpness_reference) SELECT id, "
            "(n %% 20) / 64.0, n %% 20, CASE WHEN n %% 20 < 3 THEN n / 50 END, (a + b) / 2, "
            "array_remove(ARRAY[CASE WHEN b < 0.1 THEN 'blur' END, "
            "CASE WHEN a < 0.15 THEN 'low_brightness' END, "
            "CASE WHEN a > 0.85 THEN 'high_brightness' END, "
            "CASE WHEN c < 0.1 THEN 'low_contrast' END, "
            "CASE WHEN n %% 20 < 3 THEN 'duplicate' END, "
            "CASE WHEN d < 0.0031 THEN 'low_information' END], NULL), 500 FROM made "
            "WHERE d >= 0.003 AND d < 0.99",
            [],
        )
        run(
            "INSERT INTO project_classes (project_id, name) "
            "SELECT %s, unnest(ARRAY['common', 'tenth', 'rare'])",
            [project_id],
        )
        run(
            "INSERT INTO image_classes SELECT i.id, c.id, i.relative_path FROM project_images i "
            "JOIN project_classes c USING (project_id) WHERE i.is_labeled AND "
            "abs(hashtext(i.filename || c.name)) %% CASE c.name WHEN 'common' THEN 2 WHEN 'tenth' "
            "THEN 10 ELSE 1000 END = 0 AND project_id = %s",
            [project_id],
        )
        indices = run(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'image_listing' "
            "AND indexname LIKE 'ix%'"
        ).fetchall()
        for name, _ in indices:
            run(f"DROP INDEX {name}".encode())
        migration = importlib.import_module("storage.database.migrations.versions.2026_11_28_web")
        run(migration.fill_listing("SELECT id FROM project_images").encode())
        for _, definition in indices:
            run(definition.encode())
    with database.engine.connect() as connection:
        driver = driver_connection(connection)
        driver.autocommit = True
        # As autovacuum does after a while.
        driver.execute("VACUUM (ANALYZE)")
    return project_id


def ask_for_pages(client: httpx.Client, project_id: UUID) -> None:
    """Every filter under every order: the first page, the second, and one behind a random place."""
    taken: dict[str, list[float]] = {}
    slowest = (0.0, "")
    address = f"/api/v1/projects/{project_id}/images"
    drawn = random.Random(3)
    cases = [
        (chosen, f"sort={sort}&descending={down}")
        for chosen in _FILTERS
        for sort in SORTED_COLUMNS
        for down in ("false", "true")
    ]
    drawn.shuffle(cases)
    for chosen, order in cases:
        cursor = ""
        for page in ("first page", "second page"):
            query = f"{address}?{chosen}&{order}&limit=100{cursor}"
            begun = time.perf_counter()
            answer = client.get(query)
            seconds = time.perf_counter() - begun
            answer.raise_for_status()
            taken.setdefault(page, []).append(seconds)
            slowest = max(slowest, (seconds, f"{chosen} {order}"))
            following = answer.json()["data"]["next"]
            if following is None:
                break
            cursor = f"&cursor={following}"
    for name, query in {
        "exact total": f"{address}?total=exact",
        "nearest images": f"/api/v1/images/{_some_image(client, address)}",
    }.items():
        for _ in range(10):
            begun = time.perf_counter()
            client.get(query).raise_for_status()
            taken.setdefault(name, []).append(time.perf_counter() - begun)
    rows = [
        [name, str(len(found)), *(f"{1000 * value:,.0f}" for value in _spread(found))]
        for name, found in taken.items()
    ]
    print_table("Pages of images", ("what", "requests", "median ms", "p95 ms", "most ms"), rows)
    print(f"slowest: {slowest[1]}, {1000 * slowest[0]:.0f} ms")


def _some_image(client: httpx.Client, address: str) -> str:
    found = client.get(f"{address}?limit=1&state=measured").json()["data"]["items"]
    return str(found[0]["id"])


def _spread(found: list[float]) -> tuple[float, float, float]:
    twentieths = statistics.quantiles(found, n=20)
    return statistics.median(found), twentieths[-1], max(found)


def poll(
    client: httpx.Client, project_id: UUID, processes: list[int], count: int, seconds: int
) -> None:
    """Clients that ask how far the quality job is, every two seconds each."""
    address = f"/api/v1/projects/{project_id}/analytics/quality-progress"
    ends = time.monotonic() + seconds
    taken: list[float] = []

    def ask(number: int) -> None:
        time.sleep(2 * number / count)
        while time.monotonic() < ends:
            begun = time.perf_counter()
            client.get(address).raise_for_status()
            taken.append(time.perf_counter() - begun)
            time.sleep(2)

    before = sum(map(cpu_seconds, processes))
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(ask, range(count)))
    used = sum(map(cpu_seconds, processes)) - before
    median, high, most = (1000 * value for value in _spread(taken))
    print(
        f"{count} pollers: {len(taken)} requests, {100 * used / seconds:.1f} % of a core (web and "
        f"database), median {median:.0f} ms, p95 {high:.0f} ms, most {most:.0f} ms"
    )


def upload(address: str, project_id: UUID, process: int, count: int) -> None:
    """So many files of 20 MB at once, each a ZIP by its first bytes."""
    content = b"PK\x03\x04" + os.urandom(_UPLOAD_BYTES - 4)
    before, most = memory(process), 0.0

    def send(number: int) -> None:
        with httpx.Client(base_url=address, timeout=600) as client:
            staged = client.post(f"/api/v1/projects/{project_id}/upload-temp").json()["data"]
            name = base64.b64encode(f"{number}.zip".encode()).decode()
            headers = {"Upload-Length": str(len(content)), "Upload-Metadata": f"filename {name}"}
            created = client.post(staged["files_url"], headers={**_TUS, **headers})
            created.raise_for_status()
            headers = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
            parts = (content[at : at + _MEBIBYTE] for at in range(0, len(content), _MEBIBYTE))
            answer = client.patch(
                created.headers["Location"], content=parts, headers={**_TUS, **headers}
            )
            answer.raise_for_status()
            client.delete(f"/api/v1/uploads/{staged['id']}").raise_for_status()

    begun = time.perf_counter()
    with ThreadPoolExecutor(count) as pool:
        sending = [pool.submit(send, number) for number in range(count)]
        while not all(one.done() for one in sending):
            most = max(most, memory(process))
            time.sleep(0.1)
    for one in sending:
        one.result()
    seconds = time.perf_counter() - begun
    print(
        f"{count} uploads of 20 MB at once: {count * 20 / seconds:.0f} MB/s, memory of the web "
        f"process {before:.0f} MB before, {most:.0f} MB at most"
    )


def cpu_seconds(process: int) -> float:
    """User and system time of a process, on Linux."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(process: int) -> float:
    """Resident megabytes of a process, on Linux."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def database_processes(database: Database) -> list[int]:
    """The processes that serve connections now."""
    rows = database.rows(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid <> pg_backend_pid()"
    )
    return [row[0] for row in rows]


def main() -> None:
    """Run all parts."""
    chosen = parse_arguments(__doc__, images=1_000_000, pollers=50, seconds=20, uploads=100)
    with scratch_home():
        get_settings.cache_clear()
        database = open_database()
        begun = time.perf_counter()
        project_id = make_rows(database, chosen.images)
        print(f"{chosen.images:,} images made in {time.perf_counter() - begun:.0f} s")
        size = database.rows("SELECT pg_total_relation_size('image_listing')")[0][0]
        print(f"image_listing with its indices: {size / chosen.images:.0f} bytes an image")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        web = subprocess.Popen([sys.executable, "-c", _SERVE, str(port)])
        address = f"http://127.0.0.1:{port}"
        try:
            limits = httpx.Limits(max_connections=None)
            with httpx.Client(base_url=address, timeout=60, limits=limits) as client:
                for _ in range(300):
                    try:
                        client.get("/api/v1/projects")
                        break
                    except httpx.TransportError:
                        time.sleep(0.1)
                ask_for_pages(client, project_id)
                client.get(f"/api/v1/projects/{project_id}/analytics/quality-progress")
                processes = [web.pid, *database_processes(database)]
                poll(client, project_id, processes, chosen.pollers, chosen.seconds)
            upload(address, project_id, web.pid, chosen.uploads)
        finally:
            web.terminate()
            web.wait(30)


if __name__ == "__main__":
    main()
