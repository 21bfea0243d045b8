"""The report in a browser of this machine, new whenever the study is: a server on loopback that asks for a token."""

from __future__ import annotations

import hmac
import http.server
import secrets
import threading
import time
from collections.abc import Callable

from pipeline.errors import PipelineError

ADDRESS = "127.0.0.1"
"""Nobody but this machine. From elsewhere one comes by an SSH tunnel."""
EVERY_SECONDS = 30.0
"""Between two looks at the store: a fit takes seconds, and a study runs for hours."""


class Server(http.server.ThreadingHTTPServer):
    """Serves one page under an address that holds a token, and nothing to who does not know it."""

    daemon_threads = True

    def __init__(self, page: Callable[[str], str], *, port: int = 0, token: str | None = None):
        super().__init__((ADDRESS, port), _Handler)
        self.token = token or secrets.token_urlsafe(24)
        self._make, self._lock = page, threading.Lock()
        self.number = 0
        """Of the page: it rises whenever the page is another."""
        self.text = ""
        self.refresh()

    @property
    def url(self) -> str:
        return f"http://{ADDRESS}:{self.server_port}/{self.token}/"

    def refresh(self) -> bool:
        """Make the page again; True if it has changed."""
        text = self._make(f"/{self.token}/new?than=NUMBER")
        with self._lock:
            if text == self.text:
                return False
            self.text, self.number = text, self.number + 1
            return True

    def shown(self) -> tuple[str, int]:
        with self._lock:
            return self.text.replace("than=NUMBER", f"than={self.number}"), self.number


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        token, _, rest = self.path.lstrip("/").partition("/")
        # Only by the names of loopback: a page of another site could otherwise reach it under a name of its own.
        host = self.headers.get("Host", "").rsplit(":", 1)[0]
        if host not in (ADDRESS, "localhost") or not hmac.compare_digest(token.encode(), self.server.token.encode()):
            self.send_error(404)
            return
        page, number = self.server.shown()
        if not rest:
            self._answer(page, "text/html")
        elif rest.startswith("new?than="):
            self._answer("new" if rest != f"new?than={number}" else "same", "text/plain")
        else:
            self.send_error(404)

    def _answer(self, text: str, kind: str) -> None:
        body = text.encode("utf-8", "xmlcharrefreplace")
        self.send_response(200)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *values: object) -> None:
        """Silent: what is asked for holds the token."""


def serve(page: Callable[[str], str], *, port: int = 0, announce: Callable[[str], None]) -> None:
    """Serve a page until Ctrl-C.

    page: makes it, given the address that it shall ask for changes. announce: told the address with its token. Raises
    OSError where the port is taken.
    """
    with Server(page, port=port) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        announce(f"serving {server.url} (Ctrl-C ends it)")
        try:
            while True:
                time.sleep(EVERY_SECONDS)
                try:
                    server.refresh()
                except PipelineError as error:  # a store that cannot be reached now: what is shown stays
                    announce(str(error))
        except KeyboardInterrupt:
            announce("stopped")
        finally:
            server.shutdown()
