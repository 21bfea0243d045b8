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
from urllib.parse import quote, unquote

from wandb_artifacts import StubArtifacts

PROJECT = {"id": "project", "name": "unsl", "entity": {"id": "entity", "name": "tester"}}


@dataclass
class StubRun:
    """One run as the server knows it."""

    history: list[str] = field(default_factory=list)
    """Rows as JSON text, by their line number."""
    files: dict[str, bytes] = field(default_factory=dict)
    """Uploaded files by their path in the run's folder."""
    summary: dict[str, Any] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)
    """What the run was created with, in the words of the operation that does so."""
    created: int = 0
    exit_code: int | None = None

    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.history]


class WandbStub:
    """A context manager. `failing` is the share of answers that are errors, and `refused` names GraphQL operations that
    are answered by an error; both may be changed at any time."""

    def __init__(self, *, failing: float = 0.0, seed: int = 0, refused: tuple[str, ...] = ()):
        self.runs: dict[str, StubRun] = {}
        self.alerts: list[tuple[str, str]] = []
        """Titles and texts."""
        self.artifacts = StubArtifacts()
        self.reports: dict[str, dict[str, Any]] = {}
        """By their id, as they were sent last."""
        self.errors: list[dict[str, Any]] = []
        """Requests that the stand-in could make nothing of."""
        self.failing, self.refused = failing, refused
        self.too_many: Counter[str] = Counter()
        """GraphQL operations by how often they will still be answered by 429."""
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
                    try:
                        status, value = stub.handle(self.path, raw, self.headers["Host"])
                    except Exception as error:  # No answer at all would be tried again for ever.
                        status, value = 400, {"errors": [{"message": f"{type(error).__name__}: {error}"}]}
                        stub.errors.append(value)
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
            body = json.loads(raw)
            if self.too_many[_operation(body)] > 0:
                self.too_many[_operation(body)] -= 1
                return 429, {"error": "rate limit exceeded"}
            if _operation(body) in self.refused:
                return 200, {"data": None, "errors": [{"message": "told to refuse this"}]}
            return 200, {"data": self._graphql(body, host)}
        if found := re.search(r"/files/[^/]+/[^/]+/([^/]+)/file_stream", path):
            self._stream(self._run(found[1]), json.loads(raw))
        elif found := re.fullmatch(r"/upload/([^/]+)/(.+)", path):
            self._run(found[1]).files[unquote(found[2])] = raw
        elif path.startswith("/artifact/"):
            self.artifacts.take(path, raw)
        return 200, {}

    def _run(self, name: str) -> StubRun:
        return self.runs.setdefault(name, StubRun())

    def _stream(self, run: StubRun, body: dict[str, Any]) -> None:
        history = (body.get("files") or {}).get("wandb-history.jsonl")
        if history:
            start = history["offset"]
            run.history[start : start + len(history["content"])] = history["content"]
        if summary := (body.get("files") or {}).get("wandb-summary.json"):
            run.summary = json.loads(summary["content"][-1])
        if body.get("complete"):
            run.exit_code = body.get("exitcode")

    def _graphql(self, body: dict[str, Any], host: str) -> dict[str, Any]:
        query, variables, name = body.get("query", ""), body.get("variables") or {}, _operation(body)
        if name == "RunResumeStatus":
            return {"model": {**PROJECT, "bucket": self._resume_status(variables["name"])}}
        if name == "UpsertBucket":
            new = variables["name"] not in self.runs
            run = self._run(variables["name"])
            run.created += new
            run.about |= {key: value for key, value in variables.items() if value is not None}
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
            where = f"http://{host}/upload/{variables['run']}"
            files = [{"name": file, "uploadUrl": f"{where}/{quote(file)}"} for file in variables["files"]]
            return {"createRunFiles": {"runID": "run", "uploadHeaders": [], "files": files}}
        if name == "NotifyScriptableRunAlert":
            self.alerts.append((variables["title"], variables["text"]))
            return {"notifyScriptableRunAlert": {"success": True}}
        if name == "ProjectInternalId":
            return {"project": {"id": "project", "internalId": "7"}}
        if name == "GetProjects":
            about = {"id": "project", "name": "unsl", "entityName": "tester", "isBenchmark": False, "user": None}
            edge = {"node": {**about, "createdAt": "2026-01-01T00:00:00Z"}, "cursor": "1"}
            return {"models": {"edges": [edge], "pageInfo": {"endCursor": None, "hasNextPage": False}}}
        if name == "upsertView":
            return self._keep_report(variables)
        if (answer := self.artifacts.answer(name, variables, host)) is not None:
            return answer
        if "viewer" in query or name == "Viewer":
            viewer = {"id": "user", "entity": "tester", "username": "tester", "flags": "{}", "teams": {"edges": []}}
            return {"viewer": viewer}
        if "serverInfo" in query or name == "ServerInfo":
            versions = {"cliVersionInfo": {"max_cli_version": "9.9.9"}, "latestLocalVersionInfo": None, "features": []}
            return {"serverInfo": versions}
        return {}

    def _keep_report(self, sent: dict[str, Any]) -> dict[str, Any]:
        known = sent.get("id")
        if known and known not in self.reports:
            return {"upsertView": None}
        one = known or f"report{len(self.reports)}"
        self.reports[one] = sent
        view = {name: sent[name] for name in ("type", "name", "displayName", "description", "spec")}
        where = {"id": "project", "name": sent["projectName"], "entityName": sent["entityName"]}
        times = {"updatedAt": "2026-01-01T00:00:00", "createdAt": "2026-01-01T00:00:00"}
        return {"upsertView": {"view": {"id": one, **view, **times, "project": where}, "inserted": not known}}

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


def _operation(body: dict[str, Any]) -> str:
    found = re.search(r"(?:query|mutation)\s+(\w+)", body.get("query", ""))
    return found[1] if found else ""
