"""A server of the S3 protocol, and before it one that injects faults."""

from __future__ import annotations

import http.client
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_EXPIRED = b"<Error><Code>ExpiredToken</Code><Message>It has expired.</Message></Error>"
_DENIED = b"<Error><Code>AccessDenied</Code><Message>Denied.</Message></Error>"


@contextmanager
def running_object_store() -> Iterator[tuple[str, list[str], list[tuple[str, str]]]]:
    """Its address, faults of the next requests ("503", "403", "expired", "cut", "slow"), a log."""
    os.environ.setdefault("MOTO_S3_DEFAULT_MAX_KEYS", "1000")
    from moto.server import ThreadedMotoServer

    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    faults: list[str] = []
    requests: list[tuple[str, str]] = []

    class Front(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_arguments: object) -> None:
            pass

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            requests.append((self.command, self.path))
            fault = faults.pop(0) if faults else None
            if fault in ("503", "403", "expired"):
                status = 400 if fault == "expired" else int(fault)
                self._answer(status, [], _EXPIRED if fault == "expired" else _DENIED)
                return
            if fault == "slow":
                time.sleep(0.3)
            onward = http.client.HTTPConnection(host, port)
            onward.request(self.command, self.path, body, dict(self.headers))
            answer = onward.getresponse()
            content = answer.read()
            self._answer(answer.status, answer.getheaders(), content, cut=fault == "cut")
            onward.close()

        def _answer(self, status, headers, content, cut=False) -> None:
            self.send_response(status)
            left_out = ("connection", "date", "server", "transfer-encoding")
            has_length = False
            for name, value in headers:
                if name.lower() not in left_out:
                    has_length |= name.lower() == "content-length"
                    self.send_header(name, value)
            if not has_length:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content[: len(content) // 2] if cut else content)
            if cut:
                self.close_connection = True

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _pass_on  # noqa: N815

    front = ThreadingHTTPServer(("127.0.0.1", 0), Front)
    front.daemon_threads = True
    thread = threading.Thread(target=front.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{front.server_port}", faults, requests
    finally:
        front.shutdown()
        front.server_close()
        thread.join()
        moto.stop()


def make_bucket(address: str, name: str) -> None:
    connection = http.client.HTTPConnection(address.removeprefix("http://"))
    connection.request("PUT", f"/{name}")
    assert connection.getresponse().read() is not None
    connection.close()
