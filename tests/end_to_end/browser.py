"""A headless browser of the system, driven over its DevTools protocol."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")


def find_browser() -> str | None:
    """The program of a browser, or None."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Page:
    """One page of the browser: what is on it, and a person's hands."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._events: list[dict[str, Any]] = []

    def open(self, url: str) -> None:
        """Go to an address."""
        self.send("Page.navigate", url=url)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, expression: str, seconds: float = 60) -> Any:
        """The value of an expression once it is true."""
        deadline = time.monotonic() + seconds
        while not (value := self.evaluate(expression)):
            if time.monotonic() > deadline:
                raise AssertionError(f"never so: {expression}\n{self.text()}")
            time.sleep(0.1)
        return value

    def text(self) -> str:
        """What a person reads."""
        return str(self.evaluate("document.body.innerText"))

    def click(self, element: str) -> None:
        """Click on an element, given as a JavaScript expression, once it is there."""
        self.wait_for(f"!!({element})")
        self.evaluate(f"({element}).click()")

    def write(self, element: str, text: str) -> None:
        """Type into a field, instead of what it holds."""
        self.wait_for(f"!!({element})")
        self.evaluate(f"({element}).focus()")
        self.evaluate(f"({element}).select()")
        self.send("Input.insertText", text=text)
        self._let_it_take_effect()

    def choose(self, element: str, value: str) -> None:
        """Take one of the choices of a drop-down."""
        self.wait_for(f"!!({element})")
        self.evaluate(
            f"(() => {{ const list = {element}; list.value = {json.dumps(value)};"
            "list.dispatchEvent(new Event('change', {bubbles: true})) })()"
        )
        self._let_it_take_effect()

    def _let_it_take_effect(self) -> None:
        """Nobody is faster than this; the form joins what comes at once, and may lose one of it."""
        time.sleep(0.5)

    def watch(self) -> None:
        """From now on remember what the page complains of and asks for."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def complaints(self) -> list[str]:
        """Errors in the console, uncaught exceptions, and what the browser refused."""
        self.evaluate("1")  # what has come until now is read with the answer
        found = []
        for event in self._events:
            told = event["params"]
            if event["method"] == "Runtime.exceptionThrown":
                found.append(str(told["exceptionDetails"]))
            elif event["method"] == "Runtime.consoleAPICalled" and told["type"] == "error":
                found.append(str(told["args"]))
            elif event["method"] == "Log.entryAdded" and told["entry"]["level"] == "error":
                found.append(f"{told['entry']['text']} {told['entry'].get('url')}")
        return found

    def requested(self) -> list[str]:
        """The addresses that the page has asked for."""
        self.evaluate("1")
        return [
            event["params"]["request"]["url"]
            for event in self._events
            if event["method"] == "Network.requestWillBeSent"
        ]

    def look(self, width: int, height: int, *, dark: bool = False) -> None:
        """Have a window of another size, in light or dark."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def visit(self, url: str) -> None:
        """Go to an address, and wait until all of it is there."""
        self.evaluate("window.left = true")
        self.open(url)
        self.wait_for("!window.left && document.readyState === 'complete'")

    def press(self, key: str) -> None:
        """Press a key: a letter, or a name such as ArrowRight."""
        text = {"text": key} if len(key) == 1 else {}
        self.send("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.send("Input.dispatchKeyEvent", type="keyUp", key=key)

    def picture(self) -> bytes:
        """What is to be seen, as PNG."""
        shot = self.send("Page.captureScreenshot", format="png")
        return base64.b64decode(shot["data"])

    def barriers(self, axe: Path) -> list[str]:
        """What keeps people out, as axe-core finds it; `axe` is its script."""
        if not self.evaluate("!!window.axe"):
            self.send("Runtime.evaluate", expression=axe.read_text(encoding="utf-8"))
        answer = self.send(
            "Runtime.evaluate",
            expression="axe.run().then(found => found.violations.map(one => "
            "`${one.id}: ${one.nodes.map(node => node.html).slice(0, 3).join(' ')}`))",
            awaitPromise=True,
            returnByValue=True,
        )
        assert "exceptionDetails" not in answer, answer
        return list(answer["result"]["value"])

    def send(self, method: str, **parameters: Any) -> Any:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv(timeout=60))
            if "id" not in answer:
                self._events.append(answer)
            elif answer["id"] == number:
                assert "error" not in answer, answer
                return answer["result"]


@contextmanager
def opened_page(program: str, folder: Path) -> Iterator[Page]:
    """Start a browser with a profile of its own, and open a page in it."""
    options = ["--headless", "--remote-debugging-port=0", f"--user-data-dir={folder}"]
    options += ["--no-first-run", "--disable-gpu", "--disable-dev-shm-usage", "--no-proxy-server"]
    if os.geteuid() == 0:
        options.append("--no-sandbox")  # it cannot be had as root
    size = "--window-size=1400,1400"
    log = folder.with_suffix(".log")
    with log.open("wb") as words:
        # Some of these programs are scripts that start the browser: all of it ends together.
        process = subprocess.Popen(
            [program, *options, size, "about:blank"], stderr=words, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 60
        port_file = folder / "DevToolsActivePort"
        while not (port_file.exists() and port_file.read_text().strip()):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        port = port_file.read_text().splitlines()[0]
        made = httpx.put(f"http://127.0.0.1:{port}/json/new?about:blank", trust_env=False).json()
        with connect(made["webSocketDebuggerUrl"], max_size=None, proxy=None) as socket:
            yield Page(socket)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=30)
