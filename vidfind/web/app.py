"""The addresses of the page, and what each answers; all lie below the token, which guard.py has taken away."""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Callable, Collection, Generator, Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files as package_files
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import anyio
from anyio import CapacityLimiter
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from vidfind.errors import BadInput, UnreadableVideo, VidfindError
from vidfind.export.live import stream_moment
from vidfind.export.wanted import Wanted
from vidfind.pictures.cache import PictureCache
from vidfind.pictures.thumbnail import NEAR, SIZE
from vidfind.search.question.expression import Example
from vidfind.search.searcher import Searcher
from vidfind.system import player
from vidfind.system.mistakes import cause_of, mistake_sentence
from vidfind.web.answers import Answers, ReadQuery, remarks_for_the_page
from vidfind.web.details import folders_json, status_json, tags_json, video_json
from vidfind.web.exports import Exports, job_json, read_object, read_order
from vidfind.web.files import FileReply, open_file
from vidfind.web.given import Given, read_body
from vidfind.web.guard import LOCAL_NAMES, Guard
from vidfind.web.library import Library, seconds_in
from vidfind.web.live import FilmReply, Films
from vidfind.web.replies import NotHere, error_reply, json_reply, readable

log = logging.getLogger(__name__)
T = TypeVar("T")
SEARCHES, PICTURES, OPENINGS = 2, 2, 16
READINGS = 2
"""How many pictures are received at a time."""
"""How many threads search, make pictures and open files at a time; the others wait."""
MOST_LIKES = 8
MOST_ORDER = 10**6  # bytes
LONGEST_FILM = 600.0  # seconds
PICTURE_SIZES = (160, 320, 480, 640, 960, 1280)
FOREVER = "private, max-age=31536000, immutable"
STATIC_TYPES: Mapping[str, str] = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".webmanifest": "application/manifest+json",
}


@contextmanager
def opened_app(
    searcher: Searcher,
    read_query: ReadQuery,
    token: str,
    *,
    pictures: PictureCache | None = None,
    hosts: Collection[str] = LOCAL_NAMES,
    any_address: bool = False,
) -> Iterator[Guard]:
    """Yields the whole application for an index, which answers only to requests with this token.

    What it writes lies in a temporary folder, which is deleted at the end."""
    with TemporaryDirectory(prefix="vidfind-web-", ignore_cleanup_errors=True) as folder, remarks_for_the_page():
        page = Page(Library(searcher, token), read_query, pictures or PictureCache(), Path(folder))
        try:
            yield Guard(page.app(), token, hosts, any_address)
        finally:
            page.exports.close()


class Page:
    """The answer of each address."""

    def __init__(self, library: Library, read_query: ReadQuery, pictures: PictureCache, folder: Path) -> None:
        """`folder` is for what the page makes; whoever made the folder deletes it."""
        self.library, self.pictures = library, pictures
        self.answers, self.films = Answers(library, read_query), Films()
        self.given, self.exports = Given(folder), Exports(folder)
        self._searches, self._makings, self._openings = map(CapacityLimiter, (SEARCHES, PICTURES, OPENINGS))
        self._encodings, self._players, self._readings = map(CapacityLimiter, (1, 1, READINGS))

    def app(self) -> ASGIApp:
        """Returns the application with all addresses."""
        static = read_static()

        async def send_static(request: Request) -> Response:
            return static_reply(static, request.path_params.get("name", "index.html"))

        routes = [
            Route("/", send_static),
            Route("/static/{name:path}", send_static),
            Route("/api/search", replying(self.search)),
            Route("/api/moments", replying(self.moments)),
            Route("/api/videos/{id}", replying(self.video)),
            Route("/api/folders", replying(self.folders)),
            Route("/api/tags", replying(self.tags)),
            Route("/api/status", replying(self.status)),
            Route("/picture/{id}", replying(self.picture)),
            Route("/video/{id}", replying(self.file)),
            Route("/play/{id}", replying(self.play)),
            Route("/api/picture", replying(self.give), methods=["POST"]),
            Route("/api/open", replying(self.open), methods=["POST"]),
            Route("/api/export", replying(self.export), methods=["POST"]),
            Route("/api/export/{job}", replying(self.export_progress)),
            Route("/export/{job}", replying(self.exported)),
        ]
        app = Starlette(routes=routes, exception_handlers={404: _not_found, 405: _not_allowed, Exception: _mistake})
        app.router.redirect_slashes = False  # to an address without the token
        return app

    async def search(self, request: Request) -> Response:
        likes = await self._likes(request)
        return json_reply(await self._search(request, self.answers.page, request.query_params, likes))

    async def moments(self, request: Request) -> Response:
        likes = await self._likes(request)

        def find() -> dict[str, Any]:
            row = self.library.video(request.query_params.get("video", ""))
            question = self.answers.question(request.query_params, likes)
            moments = self.answers.moments_of(question, row)
            return {**video_json(self.library, row), "moments": self.answers.moments_json(moments)}

        return json_reply(await self._search(request, find))

    async def video(self, request: Request) -> Response:
        return json_reply(await self._open(lambda: video_json(self.library, self._row(request))))

    async def folders(self, request: Request) -> Response:
        return json_reply(await self._open(folders_json, self.library))

    async def tags(self, request: Request) -> Response:
        return json_reply(await self._open(tags_json, self.library))

    async def status(self, request: Request) -> Response:
        return json_reply(await self._open(status_json, self.library))

    async def picture(self, request: Request) -> Response:
        row = await self._open(self._row, request)
        at = seconds_in(request.query_params.get("at"), row.duration / 2, row.duration)
        wanted = seconds_in(request.query_params.get("size"), SIZE, PICTURE_SIZES[-1])
        size = next(size for size in PICTURE_SIZES if size >= wanted)
        near = min(NEAR, self.library.store.settings.segment_length / 2)

        def make() -> bytes:
            if kept := self.pictures.kept(row.fingerprint, at, size, near):
                return kept  # also of a video that is not there now
            try:
                return self.pictures.picture(self.library.file(row), row.fingerprint, at, size, near)
            except UnreadableVideo as error:
                raise NotHere(f"{row.path.name} {error}.") from error

        data = await self._waiting(request, self._makings, make)
        return Response(data, media_type="image/jpeg", headers={"cache-control": FOREVER})

    async def file(self, request: Request) -> FileReply:
        opened, path = await self._open(lambda: self.library.open(self._row(request)))
        return FileReply(opened, path.suffix)

    async def play(self, request: Request) -> FilmReply:
        def begin() -> Generator[bytes]:
            row = self._row(request)
            start = seconds_in(request.query_params.get("start"), 0.0, row.duration)
            end = seconds_in(request.query_params.get("end"), row.duration, start + LONGEST_FILM)
            if end <= start:
                raise BadInput("The part to play ends before it begins.")
            return stream_moment(self.library.file(row), start, end)

        return FilmReply(self.films, await self._open(begin))

    async def give(self, request: Request) -> Response:
        async with self._readings:
            data = await read_body(request)

        def keep() -> str:
            handle = self.given.keep(data)
            try:
                self.library.searcher.look(self.given.example(handle))
            except VidfindError as error:
                self.given.drop(handle)
                raise BadInput("This is no picture or video that can be read.") from error
            return handle

        return json_reply({"picture": await self._waiting(request, self._encodings, keep)})

    async def open(self, request: Request) -> Response:
        order = read_object(await read_body(request, MOST_ORDER))

        def play() -> dict[str, Any]:
            part = self.library.part(str(order.get("moment", "")))
            path = self.library.file(part.row)
            played = player.play(path, part.start)
            return {"name": readable(path.name), "at_moment": played.at_moment, "said": readable(played.said)}

        return json_reply(await self._waiting(request, self._players, play))

    async def export(self, request: Request) -> Response:
        moments, form, pad, query = read_order(await read_body(request, MOST_ORDER))

        def begin() -> str:
            wanted, remarks = [], []
            for part in map(self.library.part, moments):
                try:
                    wanted.append(Wanted(self.library.file(part.row), part.start, part.end, query))
                except NotHere as error:
                    remarks.append(str(error))
            if not wanted:
                raise NotHere(remarks[0])
            return self.exports.begin(wanted, form, pad, list(dict.fromkeys(remarks)))

        return json_reply({"export": await self._open(begin)})

    async def export_progress(self, request: Request) -> Response:
        return json_reply(job_json(self.exports.job(request.path_params["job"])))

    async def exported(self, request: Request) -> FileReply:
        job = self.exports.job(request.path_params["job"])
        if job.file is None:
            raise NotHere("The export is not done yet.")
        return FileReply(await self._open(open_file, job.file), job.file.suffix, download=job.file.name)

    def _row(self, request: Request) -> Any:
        return self.library.video(request.path_params["id"])

    async def _likes(self, request: Request) -> list[Example]:
        ids = request.query_params.getlist("like")
        parts = [await self._open(self.library.part, one) for one in ids[:MOST_LIKES] if one]
        handles = [one for one in request.query_params.getlist("picture")[:MOST_LIKES] if one]
        return [*(Example(part.row.path, part.at) for part in parts), *map(self.given.example, handles)]

    async def _search(self, request: Request, work: Callable[..., T], *arguments: Any) -> T:
        return await self._waiting(request, self._searches, work, *arguments)

    async def _open(self, work: Callable[..., T], *arguments: Any) -> T:
        return await anyio.to_thread.run_sync(functools.partial(work, *arguments), limiter=self._openings)

    async def _waiting(self, request: Request, limiter: CapacityLimiter, work: Callable[..., T], *arguments: Any) -> T:
        """Does work in a thread once it has its turn, unless whoever asked has left by then."""
        async with limiter:
            if await request.is_disconnected():
                raise ClientDisconnect
            return await anyio.to_thread.run_sync(functools.partial(work, *arguments), limiter=CapacityLimiter(1))


def replying(answer: Callable[[Request], Awaitable[Any]]) -> Callable[[Request], Awaitable[Any]]:
    """Makes errors that a user can act on into answers."""

    async def reply(request: Request) -> Any:
        try:
            return await answer(request)
        except VidfindError as error:
            return error_reply(error)

    return reply


def read_static() -> dict[str, bytes]:
    """Returns the parts of the page by name, read once: no request can name another file."""
    folder = package_files("vidfind.web") / "static"
    return {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.is_file()}


def static_reply(static: Mapping[str, bytes], name: str) -> Response:
    """Returns a part of the page."""
    media_type = STATIC_TYPES.get(PurePosixPath(name).suffix)
    if name not in static or media_type is None:
        return _nothing()
    return Response(static[name], media_type=media_type, headers={"cache-control": "no-cache"})


def _nothing() -> Response:
    return json_reply({"error": "There is nothing at this address.", "remedy": ""}, 404)


async def _not_found(request: Request, error: Exception) -> Response:
    return _nothing()


async def _not_allowed(request: Request, error: Exception) -> Response:
    return PlainTextResponse("Not allowed", 405)


async def _mistake(request: Request, error: Exception) -> Response:
    log.debug("A request failed: %s", request.url.path, exc_info=error)
    return json_reply({"error": mistake_sentence(cause_of(error)), "remedy": ""}, 500)
