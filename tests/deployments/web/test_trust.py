"""Who is answered, and who is not."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from deployments.web.application import create_application
from deployments.web.trust import SECURITY_HEADERS, SMALL_BODY, is_cookie, make_cookie
from storage.settings import get_settings

TOKEN = "a secret of many characters"
LIST = "/api/v1/projects"


@pytest.fixture
def guarded(database, monkeypatch):
    """A client of an application that demands a token."""
    monkeypatch.setenv("VISIONFLOWS_WEB_TOKEN", TOKEN)
    get_settings.cache_clear()
    application = create_application(get_settings())
    with TestClient(application, base_url="http://images.example", follow_redirects=False) as one:
        yield one


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:4201", 200),
        ("localhost", 200),
        ("[::1]:4201", 200),
        ("evil.example:4201", 403),
        ("127.0.0.1.evil.example", 403),
        ("127.0.0.1@evil.example", 403),
        ("", 403),
        ("[", 403),
    ],
)
def test_without_a_token_only_names_of_this_machine_are_answered(web, host, status):
    answer = web.get(LIST, headers={"Host": host})
    assert answer.status_code == status
    assert answer.json()["success"] is (status == 200)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://["},
    ],
    ids=str,
)
def test_another_site_may_not_change_anything(web, headers):
    path = f"{LIST}/nobody/analytics/cancel-quality-job"
    refused = web.post(path, headers=headers)
    assert refused.status_code == 403 and "Another site" in refused.json()["message"]
    own = {"Origin": "http://127.0.0.1:4201", "Sec-Fetch-Site": "same-origin"}
    assert web.post(path, headers=own).status_code == 404, "let through, and there is no project"
    assert web.post(path).status_code == 404, "a program sends neither header"


def test_every_answer_carries_the_headers_that_keep_browsers_careful(web):
    for answer in (
        web.get(LIST),
        web.get("/api/v1/nothing"),
        web.get(LIST, headers={"Host": "evil.example"}),
    ):
        for name, value in SECURITY_HEADERS.items():
            assert answer.headers[name] == value
        assert answer.headers["Cache-Control"] == "no-store"
    assert web.get("/docs").status_code == 404, "it would load scripts of other sites"


@pytest.mark.parametrize("says_length", [True, False])
def test_a_body_that_is_too_large_is_not_read(web, says_length):
    size = SMALL_BODY + 1
    given = 0

    def pieces():
        nonlocal given
        while given < 20 * size:
            given += 1 << 16
            yield b"x" * (1 << 16)

    body = b"x" * size if says_length else pieces()
    answer = web.post(LIST, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413 and "no larger than" in answer.json()["message"]


def test_with_a_token_whoever_lacks_it_gets_nothing(guarded):
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Cookie": "visionflows=1.2"},
        {"Cookie": f"visionflows={TOKEN}"},
        {"Cookie": 'visionflows="'},
    ):
        refused = guarded.get(LIST, headers=headers)
        assert refused.status_code == 401 and TOKEN not in refused.text
        assert refused.json()["success"] is False
    assert guarded.get("/api/v1/openapi.json").status_code == 401
    assert guarded.get(LIST, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_people_sign_in_on_a_page_and_out_again(guarded):
    sent_there = guarded.get(LIST, headers={"Accept": "text/html"})
    assert (sent_there.status_code, sent_there.headers["location"]) == (303, "/sign-in")
    page = guarded.get("/sign-in")
    assert page.status_code == 200 and 'type="password"' in page.text
    assert guarded.post("/sign-in", data={"token": "<b>wrong"}).status_code == 401
    assert not guarded.cookies
    cross = guarded.post(
        "/sign-in", data={"token": TOKEN}, headers={"Origin": "http://evil.example"}
    )
    assert cross.status_code == 403
    signed_in = guarded.post("/sign-in", data={"token": TOKEN})
    assert signed_in.status_code == 303
    cookie = signed_in.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie and TOKEN not in cookie
    assert guarded.get(LIST).status_code == 200, "the cookie is shown from now on"
    assert guarded.post("/sign-out").status_code == 303
    assert guarded.get(LIST).status_code == 401


def test_a_cookie_ends_and_belongs_to_its_token():
    assert is_cookie(make_cookie(TOKEN), TOKEN)
    assert not is_cookie(make_cookie(TOKEN), "another secret of many characters")
    assert not is_cookie(make_cookie(TOKEN, now=0.0), TOKEN), "30 days of 1970 are over"
    expires, _, signature = make_cookie(TOKEN).partition(".")
    assert not is_cookie(f"{int(expires) + 1}.{signature}", TOKEN)
    for odd in ("", ".", "x.y", f"{'9' * 40}.x", "٣.x"):
        assert not is_cookie(odd, TOKEN)


def test_on_another_address_a_token_is_demanded(invoke):
    refused = invoke("web", "--host", "0.0.0.0")
    assert refused.is_one_sentence() and "VISIONFLOWS_WEB_TOKEN" in refused.errors


def test_a_token_is_not_told_when_it_is_too_short(invoke, monkeypatch):
    monkeypatch.setenv("VISIONFLOWS_WEB_TOKEN", "short secret")
    get_settings.cache_clear()
    refused = invoke("web")
    assert refused.is_one_sentence() and "VISIONFLOWS_WEB_TOKEN" in refused.errors
    assert "short secret" not in refused.errors
