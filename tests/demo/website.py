"""The rest of the internet, as far as the demo is concerned."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAGES = {
    "/": b"Hello",
    "/weather": json.dumps({"place": "Lockhart", "sky": "hazy", "celsius": 31}).encode(),
    "/nonsense": b'{"place": "Lockhart", "celsius": "lukewarm"}',
}


class Website(ThreadingHTTPServer):
    """Serves `PAGES` on a free port of 127.0.0.1 and remembers what was asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.requests: list[tuple[str, str]] = []
        """Path and user agent, in the order in which they came."""


class _Handler(BaseHTTPRequestHandler):
    server: Website

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers["User-Agent"]))
        body = PAGES.get(self.path)
        self.send_response(404 if body is None else 200)
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def running_website() -> Iterator[Website]:
    with Website() as website:
        thread = threading.Thread(target=website.serve_forever, args=(0.02,))
        thread.start()
        yield website
        website.shutdown()
        thread.join()
