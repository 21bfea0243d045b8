"""The served report: on loopback, for who knows the token, and new when the study is."""

from __future__ import annotations

import http.client
import socket
import threading
import urllib.error
import urllib.request

import pytest

from pipeline import PipelineError
from pipeline.report import render, serving
from pipeline.report.serving import Server


@pytest.fixture
def pages() -> list[str]:
    return ["<p>first"]


@pytest.fixture
def server(pages):
    asked = []

    def page(live: str) -> str:
        asked.append(live)
        return f"{pages[-1]} {live}"

    with Server(page) as one:
        thread = threading.Thread(target=one.serve_forever, daemon=True)
        thread.start()
        yield one
        one.shutdown()
        thread.join()


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.headers["Cache-Control"] == "no-store"
        return answer.read().decode()


def status(server: Server, path: str, **headers: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request("GET", path, headers=headers)
    return connection.getresponse().status


def test_who_knows_the_token_sees_the_page_and_nobody_else(server):
    assert "first" in get(server.url)
    assert len(server.token) >= 30
    for path in ("/", "/x/", f"/{server.token[:-1]}/", f"/{server.token}x/", "/../etc/passwd", "/%FF/"):
        assert status(server, path) == 404, path
    assert status(server, f"/{server.token}/etc/passwd") == 404


def test_only_loopback_listens(server):
    assert server.server_address[0] == "127.0.0.1"
    with socket.socket() as other:
        other.settimeout(5)
        assert other.connect_ex(("127.0.0.2", server.server_port)) != 0


def test_another_name_for_this_machine_is_refused(server):
    """A page of another site can give its own name the address of loopback."""
    assert status(server, f"/{server.token}/", Host="evil.example") == 404
    assert status(server, f"/{server.token}/", Host=f"localhost:{server.server_port}") == 200


def test_a_page_asks_whether_there_is_another(server, pages):
    text = get(server.url)
    ask = server.url + text.rsplit("/", 1)[1]
    assert ask.endswith("new?than=1") and get(ask) == "same"
    assert server.refresh() is False and get(ask) == "same"
    pages.append("<p>second")
    assert server.refresh() is True
    assert get(ask) == "new" and "second" in get(server.url)
    with pytest.raises(urllib.error.HTTPError):
        get(server.url + "other")


def test_the_page_is_made_again_every_half_minute_until_it_is_stopped(monkeypatch):
    slept, made, told = [], [], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            raise KeyboardInterrupt

    def page(live: str) -> str:
        made.append(live)
        if len(made) == 2:
            raise PipelineError("the store is away")
        return "a page"

    monkeypatch.setattr(serving.time, "sleep", sleep)
    serving.serve(page, announce=told.append)
    assert slept == [30.0] * 3 and len(made) == 3
    assert told[0].startswith("serving http://127.0.0.1:") and told[1:] == ["the store is away", "stopped"]


def test_a_page_of_a_file_asks_nobody(facts):
    assert "fetch(" not in render(facts).rsplit("<script>", 1)[1]
    served = render(facts, live="/TOKEN/new?than=NUMBER")
    assert 'fetch("/TOKEN/new?than=NUMBER")' in served and "connect-src &#39;self&#39;" in served
