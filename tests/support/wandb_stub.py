"""A stand-in for W&B's server on loopback: it keeps what runs send, and fails when it is told to."""

from __future__ import annotations

import gzip
import json
import random
import re
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PROJECT = {"id": "project", "name": "unsl", "entity": {"id": "entity", "name": "tester"}}


@dataclass
class StubRun:
    """One run as the server knows it."""

    history: list[str] = field(default_factory=list)
    """Rows as JSON text, by their line number."""
    created: int = 0
    exit_code: int | None = None

    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.history]


class WandbStub:
    """A context manager. `failing` is the share of answers that are errors, to be changed at any time."""

    def __init__(self, *, failing: float = 0.0, seed: int = 0):
        self.runs: dict[str, StubRun] = {}
        self.failing = failing
        self.answers: Counter[int] = Counter()
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None: ...

            def answer(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.headers.get("Content-Encoding") == "gzip":
                    raw = gzip.decompress(raw)
                with stub._lock:
                    status, value = stub.handle(self.path, raw, self.headers["Host"])
                    stub.answers[status] += 1
                data = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = answer

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # A client that was killed is no news.

    def __enter__(self) -> WandbStub:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to find this server and believe that it is logged in."""
        host, port = self._server.server_address
        return {"WANDB_BASE_URL": f"http://{host}:{port}", "WANDB_API_KEY": "0" * 40, "WANDB_ERROR_REPORTING": "false"}

    def handle(self, path: str, raw: bytes, host: str) -> tuple[int, Any]:
        if self._random.random() < self.failing:
            return self._random.choice((429, 500, 503)), {"error": "told to fail"}
        if "graphql" in path:
            return 200, {"data": self._graphql(json.loads(raw), host)}
        if found := re.search(r"/files/[^/]+/[^/]+/([^/]+)/file_stream", path):
            self._stream(self._run(found[1]), json.loads(raw))
        return 200, {}

    def _run(self, name: str) -> StubRun:
        return self.runs.setdefault(name, StubRun())

    def _stream(self, run: StubRun, body: dict[str, Any]) -> None:
        history = (body.get("files") or {}).get("wandb-history.jsonl")
        if history:
            start = history["offset"]
            run.history[start : start + len(history["content"])] = history["content"]
        if body.get("complete"):
            run.exit_code = body.get("exitcode")

    def _graphql(self, body: dict[str, Any], host: str) -> dict[str, Any]:
        query, variables = body.get("query", ""), body.get("variables") or {}
        found = re.search(r"(?:query|mutation)\s+(\w+)", query)
        name = found[1] if found else ""
        if name == "RunResumeStatus":
            return {"model": {**PROJECT, "bucket": self._resume_status(variables["name"])}}
        if name == "UpsertBucket":
            new = variables["name"] not in self.runs
            run = self._run(variables["name"])
            run.created += new
            bucket = {
                "id": variables["name"],
                "name": variables["name"],
                "displayName": variables.get("displayName") or variables["name"],
                "description": "",
                "config": "{}",
                "sweepName": None,
                "project": PROJECT,
                "historyLineCount": len(run.history),
            }
            return {"upsertBucket": {"bucket": bucket, "inserted": new}}
        if name == "CreateRunFiles":
            files = [{"name": file, "uploadUrl": f"http://{host}/upload/{file}"} for file in variables["files"]]
            return {"createRunFiles": {"runID": "run", "uploadHeaders": [], "files": files}}
        if "viewer" in query or name == "Viewer":
            viewer = {"id": "user", "entity": "tester", "username": "tester", "flags": "{}", "teams": {"edges": []}}
            return {"viewer": viewer}
        if "serverInfo" in query or name == "ServerInfo":
            versions = {"cliVersionInfo": {"max_cli_version": "9.9.9"}, "latestLocalVersionInfo": None, "features": []}
            return {"serverInfo": versions}
        return {}

    def _resume_status(self, name: str) -> dict[str, Any] | None:
        run = self.runs.get(name)
        if run is None:
            return None
        return {
            "id": name,
            "name": name,
            "displayName": name,
            "summaryMetrics": run.history[-1] if run.history else "{}",
            "logLineCount": 0,
            "historyLineCount": len(run.history),
            "eventsLineCount": 0,
            "historyTail": json.dumps(run.history[-1:]),
            "eventsTail": "[]",
            "config": "{}",
            "tags": [],
            "wandbConfig": json.dumps({"t": 1}),
            "runtime": 1,
        }
