"""A hub on 127.0.0.1: repositories in memory, and as much of the hub's interface as a model needs."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FakeHub:
    """Repositories by name, each a list of commits; ``requests`` lists what was asked for."""

    def __init__(self) -> None:
        self.commits: dict[str, list[dict[str, bytes]]] = {}
        self.private: dict[str, bool] = {}
        self.branches: dict[str, set[str]] = {}
        self.requests: list[tuple[str, str]] = []
        self.sizes: dict[str, int] = {}  # that are claimed for files
        self.cards: list[str] = []  # that were checked
        self.address = ""

    def identifier(self, repo: str, number: int) -> str:
        return hashlib.sha1(f"{repo} {number}".encode()).hexdigest()

    def resolve(self, repo: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        commits = self.commits[repo]
        for number, files in enumerate(commits):
            if self.identifier(repo, number) == revision:
                return revision, files
        if revision in self.branches.get(repo, {"main"}):
            return self.identifier(repo, len(commits) - 1), commits[-1]
        return None


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self, status: int, content: Any = b"", headers: dict[str, str] | None = None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if "Content-Length" not in (headers or {}):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _missing(self, code: str) -> None:
        self._answer(404, {"error": code}, {"X-Error-Code": code, "X-Error-Message": code})

    def do_HEAD(self) -> None:
        self.hub.requests.append((self.command, self.path))
        tree = re.fullmatch(r"/api/(datasets/[\w.-]+/[\w.-]+)/tree/(\w+)\?.*", self.path)
        if tree is not None:
            self._list(*tree.groups())
            return
        found = re.fullmatch(r"/((?:datasets/)?[\w.-]+/[\w.-]+)/resolve/([^/]+)/(.+)", self.path)
        if found is None:
            self._answer(404, {"error": "unknown"})
            return
        repo, revision, name = found.groups()
        if repo not in self.hub.commits:
            self._missing("RepoNotFound")
            return
        resolved = self.hub.resolve(repo, revision)
        if resolved is None:
            self._missing("RevisionNotFound")
        elif name not in resolved[1]:
            self._missing("EntryNotFound")
        else:
            content = resolved[1][name]
            size = self.hub.sizes.get(name, len(content)) if self.command == "HEAD" else len(content)
            digest = hashlib.sha256(content).hexdigest()
            headers = {"X-Repo-Commit": resolved[0], "ETag": f'"{digest}"', "Content-Length": str(size)}
            self._answer(200, content, headers)

    do_GET = do_HEAD  # noqa: N815

    def _list(self, repo: str, revision: str) -> None:
        resolved = self.hub.resolve(repo, revision) if repo in self.hub.commits else None
        if resolved is None:
            self._missing("RevisionNotFound" if repo in self.hub.commits else "RepoNotFound")
            return
        files = []
        for name, content in resolved[1].items():
            oid = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
            entry: dict[str, Any] = {"type": "file", "path": name, "oid": oid, "size": len(content)}
            if name.endswith(".parquet") and "small" not in name:
                digest = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 100}
            files.append(entry)
        self._answer(200, files)

    def do_POST(self) -> None:
        self.hub.requests.append((self.command, self.path))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            repo = f"{asked.get('organization') or 'me'}/{asked['name']}"
            if self.headers.get("Authorization") != "Bearer hf_right":
                self._answer(401, {"error": "no token"})
                return
            if repo in self.hub.commits:
                self._answer(409, {"url": f"{self.hub.address}/{repo}"})
                return
            self.hub.commits[repo], self.hub.branches[repo] = [{}], {"main"}
            self.hub.private[repo] = bool(asked.get("private") or asked.get("visibility") == "private")
            self._answer(200, {"url": f"{self.hub.address}/{repo}"})
        elif self.path == "/api/validate-yaml":
            self.hub.cards.append(json.loads(body)["content"])
            self._answer(200, {"errors": [], "warnings": []})
        elif found := re.fullmatch(r"/api/models/([\w.-]+/[\w.-]+)/preupload/(.+)", self.path):
            files = json.loads(body)["files"]
            modes = [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in files]
            self._answer(200, {"files": modes})
        elif found := re.fullmatch(r"/api/models/([\w.-]+/[\w.-]+)/commit/(.+)", self.path):
            self._commit(found[1], body)
        else:
            self._answer(404, {"error": self.path})

    def _commit(self, repo: str, body: bytes) -> None:
        files = dict(self.hub.commits[repo][-1])
        for line in body.splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
        self.hub.commits[repo].append(files)
        oid = self.hub.identifier(repo, len(self.hub.commits[repo]) - 1)
        self._answer(
            200, {"success": True, "commitOid": oid, "commitUrl": f"{self.hub.address}/{repo}/commit/{oid}"}
        )


@contextmanager
def running(hub: FakeHub) -> Iterator[FakeHub]:
    """Serve a hub while the context lasts."""
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
