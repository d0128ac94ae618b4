"""What the page for marking faces asks, and is answered."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from elboroom.annotation.marks import SIDES, Marks, PhotoError
from elboroom.errors import FailureError, UsageError
from elboroom.serving import Request, Response, html, json_response
from elboroom.serving.server import Route

PAGE = Path(__file__).with_name("page.html")
_MOST = 1 << 40  # numbers of photos


def routes(marks: Marks) -> dict[str, Route]:
    """Return the table of routes for `elboroom.serving.Server`.

    - ``GET /`` is the page, and ``GET /state`` everything that `Marks.tree` says, of the folder as it is now.
    - ``GET /size?photo=3`` is ``[width, height]``, and ``GET /photo?photo=3&side=2048`` a JPEG.
    - ``POST /crop`` takes ``{"photo": 3, "points": {"left_eye": [x, y], …}}`` and answers a PNG. It and
      ``/size`` answer ``{"problem": reason}`` for a photo that cannot be read, or without a face there.
    - ``POST /save`` takes the same; with points ``{}`` the photo is left out, with ``null`` unmarked.

    Raises
    ------
    FailureError
        If the page is missing from this installation.
    """
    try:
        page = html(PAGE.read_text(encoding="utf-8"))
    except OSError as error:
        raise FailureError(f"{PAGE}: {error.strerror}; install elboroom again") from None

    def state(_: Request) -> Response:
        marks.rescan()
        return json_response(marks.tree())

    def picture(request: Request) -> Response:
        side = next((side for side in SIDES if str(side) == request.query.get("side")), None)
        if side is None:
            raise UsageError(f"side must be one of {', '.join(map(str, SIDES))}")
        return Response(marks.picture(request.integer("photo", _MOST), side), "image/jpeg")

    def size(request: Request) -> Response:
        try:
            return json_response(marks.size(request.integer("photo", _MOST)))
        except PhotoError as error:
            return json_response({"problem": str(error)})

    def crop(request: Request) -> Response:
        number, points = _asked(request)
        try:
            return Response(marks.crop(number, points or {}), "image/png")
        except PhotoError as error:
            return json_response({"problem": str(error)})

    return {
        "GET /": lambda _: page,
        "GET /state": state,
        "GET /size": size,
        "GET /photo": picture,
        "POST /crop": crop,
        "POST /save": lambda request: json_response(marks.save(*_asked(request))),
    }


def _asked(request: Request) -> tuple[int, Mapping[str, Any] | None]:
    tree = request.json()
    number = tree.get("photo") if isinstance(tree, dict) else None
    points = tree.get("points", False) if isinstance(tree, dict) else False
    if type(number) is not int or not (points is None or isinstance(points, dict)):
        raise UsageError('the request must be {"photo": NUMBER, "points": {PART: [X, Y]}}')
    return number, points
