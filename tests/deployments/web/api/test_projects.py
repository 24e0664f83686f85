"""Projects over HTTP."""

from __future__ import annotations

from storage.projects.projects import add_project


def test_projects_are_listed_and_shown_by_name_or_id(web, database, tmp_path):
    project = add_project(database, "gulls", tmp_path)
    listed = web.get("/api/v1/projects").json()
    assert listed["success"] and listed["data"]["total"] == 1
    (told,) = listed["data"]["items"]
    assert (told["id"], told["name"], told["image_count"]) == (str(project.id), "gulls", 0)
    for key in ("gulls", str(project.id)):
        assert web.get(f"/api/v1/projects/{key}").json()["data"] == told
    refused = web.get("/api/v1/projects/mussels")
    assert refused.status_code == 404
    assert refused.json()["success"] is False and "gulls" in refused.json()["message"]
