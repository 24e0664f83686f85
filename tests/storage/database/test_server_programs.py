"""Where the embedded PostgreSQL of a home lies."""

from __future__ import annotations

import os
import shutil

from storage.database.server_programs import default_folder


def test_every_new_home_has_a_database_of_its_own(tmp_path):
    first = default_folder(tmp_path / "home")
    assert default_folder(tmp_path / "home") == first
    shutil.rmtree(tmp_path / "home")
    if os.geteuid() == 0:
        assert default_folder(tmp_path / "home") != first
        assert not first.is_relative_to(tmp_path), "root's server cannot enter a private home"
    else:
        assert default_folder(tmp_path / "home") == tmp_path / "home" / "postgresql"
