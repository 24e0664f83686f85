"""What comes in from the network comes in small pieces, however much is sent at once."""

from __future__ import annotations

import socket
import threading
import time

import httpx
import uvicorn

from deployments.web.files.receiving import PIECE_BYTES, SmallPieces

BODY = b"x" * (4 << 20)


def test_a_large_body_arrives_in_small_pieces():
    pieces = []

    async def application(scope, receive, send):
        assert scope["type"] == "http"
        while (message := await receive())["type"] == "http.request":
            pieces.append(len(message["body"]))
            if not message["more_body"]:
                break
            time.sleep(0.001)  # slower than the network
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(application, http=SmallPieces, lifespan="off", log_level="error")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            address = f"http://127.0.0.1:{listener.getsockname()[1]}/"
            assert httpx.post(address, content=BODY, trust_env=False).status_code == 204
        finally:
            server.should_exit = True
            thread.join()
    # One piece more may have come before reading paused.
    assert sum(pieces) == len(BODY) and max(pieces) <= 2 * PIECE_BYTES
