"""The application in this process, asked as a browser or a program would ask it."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from deployments.web.application import create_application
from storage.settings import get_settings


@pytest.fixture
def web(database):
    """A client of the application on this machine, whose errors are answers."""
    with TestClient(
        create_application(get_settings()),
        base_url="http://127.0.0.1:4201",
        raise_server_exceptions=False,
    ) as client:
        yield client
