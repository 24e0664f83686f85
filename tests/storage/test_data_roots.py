"""Files named from afar stay inside the folders of the setting, links followed."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.errors import InvalidInputError
from storage.settings import Settings, check_within_data_roots


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for name in ("home", "data", "data elsewhere", "secret"):
        (tmp_path / name).mkdir()
    return tmp_path.resolve()


def settings_of(folders: Path, *roots: Path) -> Settings:
    return Settings(home=folders / "home", data_roots=roots)


def test_without_the_setting_only_deployments_are_bound_and_to_the_home(folders: Path) -> None:
    settings = settings_of(folders)
    secret = folders / "secret" / "release.zip"
    assert check_within_data_roots(secret, for_deployment=False, settings=settings) == secret
    with pytest.raises(InvalidInputError, match="set VISIONFLOWS_DATA_ROOTS"):
        check_within_data_roots(secret, for_deployment=True, settings=settings)
    inside = folders / "home" / "releases" / "new.zip"
    assert check_within_data_roots(inside, for_deployment=True, settings=settings) == inside


@pytest.mark.parametrize("for_deployment", [False, True])
def test_the_setting_binds_everybody(folders: Path, for_deployment: bool) -> None:
    settings = settings_of(folders, folders / "data", folders / "data elsewhere")

    def check(path: Path | str) -> Path:
        return check_within_data_roots(path, for_deployment=for_deployment, settings=settings)

    for path in ("data", "data/a.zip", "data elsewhere/b/c.zip"):
        assert check(folders / path) == folders / path
    for path in ("home/a.zip", "data2/a.zip", "data/../secret/a.zip", "", ".."):
        with pytest.raises(InvalidInputError, match="VISIONFLOWS_DATA_ROOTS"):
            check(f"{folders}/{path}")


def test_a_link_is_judged_by_where_it_leads(folders: Path) -> None:
    settings = settings_of(folders, folders / "shortcut")
    (folders / "shortcut").symlink_to(folders / "data")
    (folders / "data" / "inside").symlink_to(folders / "secret")
    (folders / "secret" / "a.zip").write_bytes(b"")
    # The root itself may be a link.
    good = check_within_data_roots(
        folders / "shortcut" / "a.zip", for_deployment=True, settings=settings
    )
    assert good == folders / "data" / "a.zip"
    with pytest.raises(InvalidInputError, match=r"leads to .*secret/a\.zip"):
        check_within_data_roots(
            folders / "data" / "inside" / "a.zip", for_deployment=True, settings=settings
        )


def test_what_is_no_path_is_refused_with_a_reason(folders: Path) -> None:
    settings = settings_of(folders)
    (folders / "circle").symlink_to(folders / "circle")
    for path in (folders / "circle" / "x", "nul\0inside", "half \udce4", "~nobody-of-this-name/x"):
        with pytest.raises(InvalidInputError):
            check_within_data_roots(path, for_deployment=True, settings=settings)


def test_a_path_of_a_person_is_expanded(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folders / "data"))
    monkeypatch.chdir(folders / "data")
    settings = settings_of(folders, folders / "data")
    for path in ("~/a.zip", "a.zip", "./b/../a.zip"):
        assert (
            check_within_data_roots(path, for_deployment=True, settings=settings)
            == folders / "data" / "a.zip"
        )
