"""An S3 protocol server on loopback that counts its requests, and that can fail, dawdle and show lists late.

Objects are moto's. What a real store promises and moto does not, it gets here: requests that write are done one by one,
so that of several conditional writes one wins.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from unittest import mock
from urllib.parse import parse_qs

BUCKET = "studies"
BUSY = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


@dataclass(kw_only=True)
class Faults:
    """What the server does wrong."""

    failing: float = 0.0
    """The share of requests that are answered with 503, half of them after they were carried out."""
    slow_seconds: float = 0.0
    """That an answer takes longer, at most."""
    late_seconds: float = 0.0
    """That lists do not show what was written, at most."""
    seed: int = 0
    draw: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.draw = random.Random(self.seed)


class S3Server:
    """See the module's docstring; while its `running` lasts."""

    def __init__(self, faults: Faults):
        self.faults = faults
        self.requests: Counter[str] = Counter()
        self.url = ""
        self._one_by_one = threading.Lock()
        self._written: dict[str, float] = {}

    @classmethod
    @contextmanager
    def running(cls, faults: Faults | None = None) -> Iterator[S3Server]:
        """The server, with this process's environment pointing at it and an empty bucket."""
        import fsspec
        from moto.server import DomainDispatcherApplication, ThreadedMotoServer

        self, moto = cls(faults or Faults()), DomainDispatcherApplication.__call__
        logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        with mock.patch.object(
            DomainDispatcherApplication, "__call__", lambda app, *request: self._answer(moto, app, *request)
        ):
            server.start()
            host, port = server.get_host_and_port()
            self.url = f"http://{host}:{port}"
            with mock.patch.dict(os.environ, self.environment), _no_connections_kept():
                fsspec.config.conf.clear()
                filesystem = fsspec.filesystem("s3", skip_instance_cache=True)
                with suppress(FileNotFoundError):
                    filesystem.rm(BUCKET, recursive=True)
                filesystem.mkdir(BUCKET)
                self.requests.clear()
                yield self
            server.stop()

    @property
    def environment(self) -> dict[str, str]:
        """For whoever is to find this server."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            # Botocore's pauses are long, and the filesystem above it asks again several times as well.
            "AWS_MAX_ATTEMPTS": "2",
        }

    def _answer(self, moto: Any, app: Any, environ: dict[str, Any], start: Any) -> Any:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        self.requests[method] += 1
        faults = self.faults
        if faults.slow_seconds:
            time.sleep(faults.draw.uniform(0, faults.slow_seconds))
        chance = faults.draw.random()
        if chance < faults.failing / 2:
            # What is sent must be read, or the connection breaks before the answer is heard.
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            return _busy(start)
        writes = method in ("PUT", "POST", "DELETE")
        if writes:
            with self._one_by_one:
                answer = list(moto(app, environ, start if chance >= faults.failing else _ignore))
            if method == "PUT":
                self._written.setdefault(path.lstrip("/"), time.monotonic())
        else:
            answer = list(moto(app, environ, start if chance >= faults.failing else _ignore))
        if chance < faults.failing:
            return _busy(start)
        if "list-type" in parse_qs(environ.get("QUERY_STRING", "")) and faults.late_seconds:
            return [self._as_listed_before(b"".join(answer), path.strip("/"))]
        return answer

    def _as_listed_before(self, answer: bytes, bucket: str) -> bytes:
        """A list without what was written in the last moments."""
        import re

        since = time.monotonic() - self.faults.draw.uniform(0, self.faults.late_seconds)

        def shown(match: re.Match[bytes]) -> bytes:
            key = re.search(rb"<Key>(.*?)</Key>", match[0])[1].decode()
            # The same length, since the headers are sent: the name of nothing that anyone looks for.
            new = self._written.get(f"{bucket}/{key}", 0.0) > since
            return match[0].replace(key.encode(), b"~" * len(key.encode())) if new else match[0]

        return re.sub(rb"<Contents>.*?</Contents>", shown, answer, flags=re.DOTALL)


@contextmanager
def _no_connections_kept() -> Iterator[None]:
    """For others in this process, whose S3 is not this server, neither before nor after."""
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    try:
        yield
    finally:
        s3fs.S3FileSystem.clear_instance_cache()


def _ignore(status: str, headers: Any, exc_info: Any = None) -> Any:
    return lambda data: None


def _busy(start: Any) -> list[bytes]:
    start("503 Slow Down", [("Content-Type", "application/xml"), ("Content-Length", str(len(BUSY)))])
    return [BUSY]
