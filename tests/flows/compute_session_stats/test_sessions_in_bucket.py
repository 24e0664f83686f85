"""compute-session-stats below a URL: one listing, and of the objects only manifests are read."""

from __future__ import annotations

import pytest

from storage.errors import InvalidInputError
from tests.session_folders import make_session, manifest


def test_sessions_in_a_bucket_have_the_statistics_of_their_folders(
    documented, session_flow, session_rows, database, bucket, object_store
):
    make_session(documented, "2025/11/deep", manifest(variations={"Angle": ["front"]}), 1)
    make_session(documented, "broken", b'{"snapshot": {', 2)
    make_session(documented, "2025/11/deep/previews", None, 3)
    far = bucket / "sessions"
    for path in sorted(documented.rglob("*")):
        if path.is_file():
            (far / path.relative_to(documented).as_posix()).write_bytes(path.read_bytes())
    (far / "in the root.png").write_bytes(b"")
    (far / "a/b/c/d/e/too deep.png").write_bytes(b"")

    assert session_flow(sessions_root=str(documented)).is_completed()
    names = {"20251014_173320-combinations", "2025-10-15_080000_sweep", "seed list", "broken"}
    here = session_rows()
    assert set(here) == names | {"2025/11/deep"}

    def told():
        return {
            row["session_path"].removeprefix(f"{far}/"): {
                name: row[name] for name in row if name in columns
            }
            for row in session_rows().values()
            if row["session_path"].startswith(f"{far}/")
        }

    columns = {
        name
        for name in here["seed list"]
        if name.startswith(("images_", "manifest_s", "seed_", "placeholders", "completion", "sd_"))
    }
    columns.discard("images_sampled")  # none is opened
    requests = object_store[2]
    requests.clear()
    state = session_flow(sessions_root=str(far))
    assert state.is_completed(), state.message
    assert told() == {
        name: {column: row[column] for column in columns} for name, row in here.items()
    }
    assert state.result()["left_out_folders"] == [
        ("a/b/c/d", "folders are looked into 4 levels deep")
    ]
    read = [path for method, path in requests if method == "GET" and "list-type" not in path]
    assert len(read) == 5 and all(path.endswith("/manifest.json") for path in read)

    (far / "seed list" / "manifest.json").unlink()
    (far / "seed list" / "image_0000.png").unlink()
    only = session_flow(sessions_root=str(far), session_ids=["seed list"])
    assert only.is_completed() and told()["seed list"]["images_actual"] == 59
    for name, words in (("nothing", "nothing right below"), ("../x", "is not the id")):
        with pytest.raises(InvalidInputError, match=words):
            session_flow(sessions_root=str(far), session_ids=[name]).result()
