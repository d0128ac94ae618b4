"""The server on this computer answers its own page and nobody else."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from elboroom.errors import FailureError, UsageError
from elboroom.serving import Request, Response, Server, html, json_response, policy, run

PAGE = "<style>p { color: red }</style><script>go()</script><script type='application/json'>[1]</script>"


def _fails(kind: type[Exception]) -> Response:
    raise kind("a secret <b>")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    routes = {
        "GET /": lambda _: html(PAGE),
        "GET /number": lambda request: json_response(request.integer("n", 3)),
        "POST /echo": lambda request: Response(request.body),
        "POST /tree": lambda request: json_response({"tree": request.json()}),
        "GET /usage": lambda _: _fails(UsageError),
        "GET /failure": lambda _: _fails(FailureError),
        "GET /bug": lambda _: _fails(ZeroDivisionError),
    }
    with Server(routes, max_body=1000) as server:
        yield server


def ask(
    server: Server, method: str, path: str, body: bytes | None = None, **headers: str | None
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Ask for a path below the token; headers of value None are left out, "_" stands for "-"."""
    return ask_raw(server, method, f"/{server.token}{path}", body, **headers)


def ask_raw(
    server: Server, method: str, target: str, body: bytes | None = None, **headers: str | None
) -> tuple[int, http.client.HTTPMessage, bytes]:
    own = f"http://127.0.0.1:{server.port}"
    usual = {"Host": own.removeprefix("http://"), "Origin": own if method == "POST" else None}
    sent = {**usual, **{name.replace("_", "-"): value for name, value in headers.items()}}
    if body is not None:
        sent.setdefault("Content-Length", str(len(body)))
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        for name, value in sent.items():
            if value is not None:
                connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def test_the_page_comes_with_its_policy_and_is_not_kept(server: Server) -> None:
    status, headers, body = ask(server, "GET", "/")
    assert (status, body.decode()) == (200, PAGE)
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["Server"] == "elboroom"
    sources = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    script, style = (base64.b64encode(hashlib.sha256(x).digest()).decode() for x in _inline())
    assert sources["default-src"] == "'none'"
    assert sources["script-src"] == f"'sha256-{script}'"
    assert sources["style-src"] == f"'sha256-{style}'"
    assert sources["connect-src"] == "'self'"
    assert sources["frame-ancestors"] == "'none'"


def _inline() -> tuple[bytes, bytes]:
    return b"go()", b"p { color: red }"


def test_what_is_no_page_may_do_nothing(server: Server) -> None:
    _, headers, _ = ask(server, "POST", "/echo", b"<script>alert(1)</script>")
    assert "script-src" not in headers["Content-Security-Policy"]
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert headers["Content-Type"] == "application/octet-stream"


def test_routes_get_the_query_and_the_body(server: Server) -> None:
    assert ask(server, "GET", "/number?n=2")[::2] == (200, b"2")
    assert ask(server, "POST", "/echo", b"\x00\xff")[::2] == (200, b"\x00\xff")
    assert ask(server, "POST", "/tree", b'{"a": [1]}')[::2] == (200, b'{"tree":{"a":[1]}}')


def test_one_connection_serves_many_requests(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    for n in range(3):
        connection.request("GET", f"/{server.token}/number?n={n}")
        assert connection.getresponse().read() == str(n).encode()
    connection.close()


@pytest.mark.parametrize("n", ["3", "-1", "1.0", "", "١", "9" * 400, "0x1"])
def test_numbers_out_of_range_are_refused(server: Server, n: str) -> None:
    status, _, body = ask(server, "GET", "/number?n=" + "".join(f"%{b:02x}" for b in n.encode()))
    assert status == 400
    assert "give a whole number from 0 to 2" in json.loads(body)["error"]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"NaN", b'{"a": Infinity}', b"[" * 900])
def test_a_body_that_is_not_json_is_refused(server: Server, body: bytes) -> None:
    status, _, answer = ask(server, "POST", "/tree", body)
    assert status == 400
    assert "not JSON" in json.loads(answer)["error"]


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost", "[::1]", "", None, "127.0.0.1.evil.example"],
)
def test_other_hosts_are_refused(server: Server, host: str | None) -> None:
    status, _, body = ask(server, "GET", "/", Host=host)
    assert status == 421
    assert b"script" not in body


def test_localhost_is_this_computer_too(server: Server) -> None:
    assert ask(server, "GET", "/", Host=f"localhost:{server.port}")[0] == 200


@pytest.mark.parametrize(
    "target", ["/", "", "/wrong/", "/{token}", "/{token}x/", "//{token}/x", "/{half}/", "http://a/{token}/"]
)
def test_without_the_token_there_is_nothing(server: Server, target: str) -> None:
    target = target.format(token=server.token, half=server.token[:16])
    status, _, body = ask_raw(server, "GET", target or "*")
    assert status == 404
    assert server.token.encode() not in body


@pytest.mark.parametrize("path", ["/x", "/../etc/passwd", "/%2e%2e/", "//", "/number/", "/NUMBER", "/%00"])
def test_other_paths_are_not_there(server: Server, path: str) -> None:
    assert ask(server, "GET", path)[0] == 404


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "TRACE", "HEAD", "CONNECT", "PATCH", "GET<"])
def test_other_methods_are_refused(server: Server, method: str) -> None:
    status, _, body = ask(server, method, "/")
    assert status == 501
    assert b"<" not in body


def test_a_route_answers_its_own_method_only(server: Server) -> None:
    assert ask(server, "POST", "/", b"")[0] == 405
    assert ask(server, "GET", "/echo")[0] == 405


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", None, "", "http://127.0.0.1", "http://localhost:{port}"]
)
def test_other_origins_may_not_post(server: Server, origin: str | None) -> None:
    """Not even this computer by its other name, which is another origin to the browser."""
    origin = origin and origin.format(port=server.port)
    assert ask(server, "POST", "/echo", b"x", Origin=origin)[0] == 403


def test_the_page_by_its_other_name_may_post(server: Server) -> None:
    host = f"localhost:{server.port}"
    assert ask(server, "POST", "/echo", b"x", Host=host, Origin=f"http://{host}")[0] == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_pages_may_not_even_get(server: Server, site: str) -> None:
    assert ask(server, "GET", "/", Sec_Fetch_Site=site)[0] == 403


@pytest.mark.parametrize(
    ("length", "expected"),
    [("1001", 413), ("9" * 15, 413), ("9" * 5000, 400), ("-1", 400), ("+1", 400), ("1e1", 400), ("x", 400)],
)
def test_long_bodies_are_refused_unread(server: Server, length: str, expected: int) -> None:
    assert ask(server, "POST", "/echo", b"x", Content_Length=length)[0] == expected


def test_the_longest_body_is_taken(server: Server) -> None:
    assert ask(server, "POST", "/echo", b"x" * 1000)[::2] == (200, b"x" * 1000)


def test_a_body_without_a_length_is_refused(server: Server) -> None:
    assert ask(server, "POST", "/echo", Transfer_Encoding="chunked")[0] == 501
    assert ask(server, "POST", "/echo")[0] == 411
    assert ask(server, "GET", "/", b"x")[0] == 413


def _exchange(server: Server, sent: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as link:
        link.sendall(sent)
        link.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: link.recv(65536), b""))


POST = b"POST /{token}/echo HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n"
MALFORMED = {
    "HTTP 0.9": (b"GET /{token}/\r\n\r\n", b"no such host"),
    "two hosts": (b"GET /{token}/ HTTP/1.1\r\nHost: {host}\r\nHost: evil\r\n\r\n", b" 421 "),
    "two origins": (POST + b"Origin: null\r\n\r\n", b" 403 "),
    "two lengths": (POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", b" 400 "),
    "too short": (POST + b"Content-Length: 5\r\n\r\nab", b" 400 "),
    "https": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"Bad Request"),
    "script": (b"GET <script>alert(1)</script> / HTTP/1.1\r\n\r\n", b"Bad Request"),
    "long target": (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", b" 414 "),
    "many headers": (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", b" 431 "),
    "long query": (b"GET /{token}/?" + b"a=1&" * 50 + b" HTTP/1.1\r\nHost: {host}\r\n\r\n", b" 400 "),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_requests_are_refused(server: Server, name: str) -> None:
    sent, expected = MALFORMED[name]
    host = f"127.0.0.1:{server.port}".encode()
    answer = _exchange(server, sent.replace(b"{token}", server.token.encode()).replace(b"{host}", host))
    assert expected in answer
    assert b"<script" not in answer
    assert answer.count(b'{"error"') == 1


def test_errors_of_a_route_are_told_but_not_its_bugs(
    server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    assert ask(server, "GET", "/usage")[::2] == (400, b'{"error": "a secret <b>"}')
    status, headers, body = ask(server, "GET", "/failure")
    assert (status, body) == (500, b'{"error": "a secret <b>"}')
    assert headers["Content-Type"] == "application/json"
    assert capfd.readouterr().err == ""
    status, _, body = ask(server, "GET", "/bug")
    assert status == 500
    assert b"secret" not in body
    assert capfd.readouterr().err == "elboroom: unexpected ZeroDivisionError: a secret <b>\n"


def test_it_listens_on_this_computer_only(server: Server) -> None:
    assert server.address.startswith(f"http://127.0.0.1:{server.port}/")
    assert server._http.socket.getsockname()[0] == "127.0.0.1"


def test_tokens_are_long_and_differ() -> None:
    with Server({}) as one, Server({}) as other:
        assert one.token != other.token
        assert len(one.token) == 32  # 24 bytes


def test_a_taken_port_is_an_error(server: Server) -> None:
    with pytest.raises(FailureError, match=f"port {server.port} of 127.0.0.1 cannot be used.*or 0"):
        Server({}, port=server.port)


@pytest.mark.parametrize("name", ["/", "GET", "PUT /", "get /"])
def test_wrong_routes_are_a_mistake_of_ours(name: str) -> None:
    with pytest.raises(ValueError, match="route"):
        Server({name: lambda _: Response(b"")})


def test_stopping_waits_for_a_request_in_progress() -> None:
    entered, done = threading.Event(), []

    def slow(_: Request) -> Response:
        entered.set()
        server.stopped.wait(5)
        done.append(True)
        return Response(b"")

    with Server({"GET /": slow}) as server:
        asking = threading.Thread(target=ask, args=(server, "GET", "/"))
        asking.start()
        assert entered.wait(5)
    assert done == [True]
    asking.join()
    with pytest.raises(ConnectionRefusedError):
        ask(server, "GET", "/")


def test_a_route_may_stop_it() -> None:
    said: list[str] = []
    server = Server({"POST /end": lambda _: server.stopped.set() or json_response({})})
    running = threading.Thread(target=run, args=(server, said.append))
    running.start()
    assert ask(server, "POST", "/end", b"")[0] == 200
    running.join(5)
    assert not running.is_alive()
    assert said[0] == f"open {server.address}"


def test_the_browser_gets_an_address_that_leads_to_the_page_once(server: Server) -> None:
    address = server.address_for_once()
    assert server.token not in address
    path = address.removeprefix(f"http://127.0.0.1:{server.port}")
    assert ask_raw(server, "POST", path, b"")[0] == 404
    assert ask_raw(server, "GET", path, Host="evil.example")[0] == 421
    assert ask_raw(server, "GET", path + "number?n=1")[0] == 404
    status, headers, _ = ask_raw(server, "GET", path)
    assert (status, headers["Location"]) == (303, f"/{server.token}/")
    for _ in range(2):
        status, headers, body = ask_raw(server, "GET", path)
        assert (status, headers["Location"]) == (404, None)
        assert server.token.encode() not in body
    assert ask_raw(server, "GET", "//")[0] == 404  # an empty ticket is none


def test_the_browser_is_opened_only_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or False)
    for ask_for_it, expected in ((False, 0), (True, 1)):
        said: list[str] = []
        server = Server({})
        server.stopped.set()
        run(server, said.append, open_browser=ask_for_it)
        assert len(opened) == expected
        assert server.address not in opened  # the system shows it to all users
        assert any("no browser" in line for line in said) == ask_for_it


@pytest.mark.skipif(sys.platform == "win32", reason="signals of a console differ there")
def test_control_c_ends_it_without_an_error(usual_signals: None) -> None:
    code = "from elboroom.serving import Server, run; run(Server({}), lambda line: print(line, flush=True))"
    with subprocess.Popen([sys.executable, "-c", code], stdout=-1, stderr=-1, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("open http://127.0.0.1:")
        process.stdout.readline()
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")


def test_more_sources_join_their_directive() -> None:
    found = policy("<script>1</script>", script_src="'wasm-unsafe-eval'", worker_src="blob:")
    digest = base64.b64encode(hashlib.sha256(b"1").digest()).decode()
    assert f"script-src 'sha256-{digest}' 'wasm-unsafe-eval'" in found
    assert "worker-src blob:" in found
