"""The server: which requests are let in, and how it starts and stops."""

from __future__ import annotations

import hmac
import json
import secrets
import socketserver
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl

from elboroom.errors import ElboroomError, FailureError, UsageError, one_line
from elboroom.serving.messages import Request, Response

HOST = "127.0.0.1"
MAX_BODY = 1 << 20
_TOKEN_BYTES = 24
_PATIENCE = 20.0  # seconds that a connection may be silent
_GRACE = 5.0  # seconds that requests in progress have when the server stops
_MOST_FIELDS = 20  # of a query

Route = Callable[[Request], Response]

_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",  # "no-referrer" would take the Origin from a POST
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class RefusedError(Exception):
    """A request is not let in; the status to answer and the reason."""

    def __init__(self, status: HTTPStatus, reason: str):
        super().__init__(reason)
        self.status = status


class Server:
    """Answer a table of routes on 127.0.0.1; see `elboroom.serving`.

    It listens from the start, and answers within ``with server:`` or `run`.

    Parameters
    ----------
    routes : mapping of str to callable
        ``{"GET /": page, "POST /save": save}``.
    max_body : int
        Most bytes of a POST.
    port : int
        0 for any free one.

    Attributes
    ----------
    address : str
        With the token: ``http://127.0.0.1:40123/TOKEN/``.
    stopped : threading.Event
        When it is set, `run` returns; a route may do so.

    Raises
    ------
    FailureError
        If the port is taken.
    """

    def __init__(self, routes: Mapping[str, Route], *, max_body: int = MAX_BODY, port: int = 0):
        for name in routes:
            method, _, path = name.partition(" ")
            if method not in ("GET", "POST") or not path.startswith("/"):
                raise ValueError(f"route {name!r} is not 'GET /path' or 'POST /path'")
        self.routes = dict(routes)
        self.max_body = max_body
        self.token = secrets.token_urlsafe(_TOKEN_BYTES)
        self.stopped = threading.Event()
        self._ticket = ""
        self._busy = 0
        self._idle = threading.Condition()
        try:
            self._http = _Listener((HOST, port), _Handler)
        except OSError as error:
            why = f"port {port} of {HOST} cannot be used: {error.strerror or error}"
            raise FailureError(f"{why}; give another port, or 0, which takes a free one") from None
        self._http.owner = self
        self.port: int = self._http.server_address[1]
        self.address = f"http://{HOST}:{self.port}/{self.token}/"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening, and wait a few seconds for requests that are being answered."""
        self.stopped.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
        with self._idle:
            self._idle.wait_for(lambda: not self._busy, _GRACE)

    def address_for_once(self) -> str:
        """Return an address that leads to `address` a single time.

        A browser is started with it, since the system shows the command lines of programs to all its users.
        """
        self._ticket = secrets.token_urlsafe(_TOKEN_BYTES)
        return f"http://{HOST}:{self.port}/{self._ticket}/"

    def _redeemed(self, handler: _Handler) -> bool:
        """Whether a request brings the address for once, which is void from then on."""
        with self._idle:
            given = handler.path.encode("utf-8", "replace")
            if not self._ticket or not hmac.compare_digest(given, f"/{self._ticket}/".encode()):
                return False
            self._ticket = ""
            return True

    def answer(self, handler: _Handler) -> Response:
        """Check a request, and call its route.

        Raises
        ------
        RefusedError
            If it is not let in.
        """
        headers = handler.headers
        if headers.get_all("Host") not in ([f"{HOST}:{self.port}"], [f"localhost:{self.port}"]):
            raise RefusedError(HTTPStatus.MISDIRECTED_REQUEST, "this server answers no such host")
        if handler.command == "GET" and self._redeemed(handler):
            return Response(b"", location=f"/{self.token}/")
        route, query = self._find(handler.command, handler.path)
        if handler.command == "POST":
            origin = headers.get_all("Origin")
            if origin != [f"http://{headers['Host']}"]:
                raise RefusedError(HTTPStatus.FORBIDDEN, "requests from other pages are refused")
        if headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            raise RefusedError(HTTPStatus.FORBIDDEN, "requests from other pages are refused")
        body = self._body(handler)
        with self._counted():
            return _called(route, Request(query, body))

    def _find(self, method: str, target: str) -> tuple[Route, dict[str, str]]:
        path, _, query = target.partition("?")
        _, token, rest = [*path.split("/", 2), "", ""][:3]
        known = hmac.compare_digest(token.encode("utf-8", "replace"), self.token.encode())
        if not known or not path.startswith("/") or path.count("/") < 2:
            raise RefusedError(
                HTTPStatus.NOT_FOUND, "there is nothing here; open the address that was printed"
            )
        allowed = [one for one in ("GET", "POST") if f"{one} /{rest}" in self.routes]
        if not allowed:
            raise RefusedError(HTTPStatus.NOT_FOUND, "there is no such page")
        if method not in allowed:
            raise RefusedError(
                HTTPStatus.METHOD_NOT_ALLOWED, f"only {' and '.join(allowed)} is answered here"
            )
        try:
            fields = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
        except ValueError:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "the query cannot be read") from None
        return self.routes[f"{method} /{rest}"], dict(fields)

    def _body(self, handler: _Handler) -> bytes:
        lengths = handler.headers.get_all("Content-Length", [])
        if "Transfer-Encoding" in handler.headers:
            raise RefusedError(HTTPStatus.NOT_IMPLEMENTED, "give the length of the body")
        if not lengths and handler.command == "POST":
            raise RefusedError(HTTPStatus.LENGTH_REQUIRED, "give the length of the body")
        text = lengths[0] if lengths else "0"
        if len(lengths) > 1 or not (text.isascii() and text.isdigit() and len(text) < 16):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "the length of the body cannot be read")
        if int(text) > (self.max_body if handler.command == "POST" else 0):
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body is too long")
        body = handler.rfile.read(int(text))
        if len(body) < int(text):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "the body is shorter than announced")
        return body

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._idle:
            self._busy += 1
        try:
            yield
        finally:
            with self._idle:
                self._busy -= 1
                self._idle.notify_all()


def _called(route: Route, request: Request) -> Response:
    try:
        return route(request)
    except UsageError as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, str(error)) from None
    except ElboroomError as error:
        raise RefusedError(HTTPStatus.INTERNAL_SERVER_ERROR, str(error)) from None
    except Exception as error:
        print(one_line(f"elboroom: unexpected {type(error).__name__}: {error}"), file=sys.stderr)
        raise RefusedError(HTTPStatus.INTERNAL_SERVER_ERROR, "unexpected error; see the terminal") from error


class _Listener(socketserver.ThreadingTCPServer):
    allow_reuse_address = sys.platform != "win32"  # where it would let two programs share a port
    daemon_threads = True
    request_queue_size = 64
    owner: Server

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - its names
        """Say nothing of a browser that went away; of anything else, one line."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            print(one_line(f"elboroom: unexpected {type(error).__name__}: {error}"), file=sys.stderr)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _PATIENCE
    disable_nagle_algorithm = True
    server: _Listener

    def _reply(self) -> None:
        try:
            response = self.server.owner.answer(self)
        except RefusedError as refusal:
            self._refuse(refusal.status, str(refusal))
        else:
            self._send(HTTPStatus.SEE_OTHER if response.location else HTTPStatus.OK, response)

    do_GET = do_POST = _reply  # noqa: N815 - as http.server names them

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what the standard library refuses, whose own messages quote what was sent."""
        del message, explain
        self._refuse(HTTPStatus(code), HTTPStatus(code).phrase)

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        self.close_connection = True  # a body may be unread
        self._send(
            status, Response(json.dumps({"error": reason}, allow_nan=False).encode(), "application/json")
        )

    def _send(self, status: HTTPStatus, response: Response) -> None:
        self.send_response(status)
        self.send_header("Content-Type", response.kind)
        self.send_header("Content-Length", str(len(response.body)))
        self.send_header("Content-Security-Policy", response.policy)
        if response.location:
            self.send_header("Location", response.location)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)

    def version_string(self) -> str:
        """Name no versions."""
        return "elboroom"

    def log_message(self, *_: object) -> None:
        """Log nothing: addresses hold the token."""


def run(server: Server, say: Callable[[str], object], *, open_browser: bool = False) -> None:
    """Serve until Ctrl-C is pressed or ``server.stopped`` is set.

    Parameters
    ----------
    server : Server
        One that does not answer yet.
    say : callable
        Prints a line: the address, and how to stop.
    open_browser : bool
        Whether to open the address in the browser.
    """
    with suppress(KeyboardInterrupt), server:
        say(f"open {server.address}")
        say("press Ctrl-C to stop")
        if open_browser and not webbrowser.open(server.address_for_once()):
            say("no browser could be opened; open the address yourself")
        while not server.stopped.wait(0.5):
            pass
