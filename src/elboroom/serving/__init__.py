"""A web server for one page on this computer, for as long as a command runs.

It listens on 127.0.0.1 alone, at a free port, and its address holds a secret token::

    from elboroom.serving import Response, Server, html, json_response, run

    def numbers(request):
        return json_response({"n": int(request.query.get("n", "0")) + 1})

    def save(request):
        write(request.json())
        return json_response({})

    page = html(text)
    server = Server({"GET /": lambda request: page, "GET /numbers": numbers, "POST /save": save})
    run(server, print, open_browser=False)  # prints the address and returns when Ctrl-C is pressed

Routes are ``"METHOD /path"`` with GET or POST, compared as they are written; nothing else is answered, no
file is ever looked up by its path. A route is a function that takes a `Request` and returns a `Response`; it
runs in a thread of its own, beside others. `UsageError` raised by a route is answered with status 400 and
`FailureError` with 500, both as ``{"error": message}``; any other exception with 500 and no details.

The page names its routes relative to itself, ``fetch("numbers?n=3")`` and ``fetch("save", {method: "POST",
body})``, and so needs neither token nor port. `html` derives a content security policy from the text, under
which the scripts and styles written in it run, and nothing is fetched from elsewhere; further sources are
named by directive, as in ``html(text, script_src="'wasm-unsafe-eval'", worker_src="blob:")``. Attributes such
as ``onclick`` and ``style`` do nothing under it: scripts set listeners and ``element.style`` instead.

Refused are other Host headers (a name that an attacker's DNS server points at 127.0.0.1), addresses without
the token, requests from pages of another origin, and bodies longer than ``max_body``. Nothing is kept in
the browser's cache.
"""

from elboroom.serving.messages import Request, Response, html, json_response, policy
from elboroom.serving.server import Server, run

__all__ = ["Request", "Response", "Server", "html", "json_response", "policy", "run"]
