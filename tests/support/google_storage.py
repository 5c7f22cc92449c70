"""A small server of Google's object storage, in memory: both of its interfaces, as far as Arrow (JSON) and LanceDB
(XML) speak them. It answers as Google's documentation says; that Google itself does is not tested by it."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from urllib.parse import unquote
from xml.sax.saxutils import escape

from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

PAGE = 1000
"""Names in one answer."""


@dataclass(frozen=True)
class Blob:
    """An object of a bucket."""

    data: bytes
    generation: int
    made_at: float = field(default_factory=time.time)

    @property
    def made(self) -> str:
        """The time, as both interfaces write it."""
        return datetime.fromtimestamp(self.made_at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class GoogleStorage:
    """Buckets, and what has been uploaded in part."""

    def __init__(self, buckets: Iterable[str]) -> None:
        self._buckets: dict[str, dict[str, Blob]] = {name: {} for name in buckets}
        self._parts: dict[str, dict[int, bytes]] = {}
        self._sessions: dict[str, tuple[str, str, str | None, bytes]] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def answer(self, request: Request) -> Response:
        with self._lock:
            if not request.headers.get("Authorization", "").startswith("Bearer "):
                return _refused(request, 401, "AuthenticationRequired")
            path = request.path
            if found := re.fullmatch(r"/upload/session/(\w+)", path):
                return self._go_on(request, found[1])
            if found := re.fullmatch(r"/upload/storage/v1/b/([^/]+)/o", path):
                return self._begin(request, found[1])
            if found := re.fullmatch(r"/storage/v1/b/([^/]+)(/o)?(?:/(.+))?", path):
                return self._json_request(request, found[1], bool(found[2]), found[3])
            bucket, _, name = path.lstrip("/").partition("/")
            if bucket not in self._buckets:
                return _refused(request, 404, "NoSuchBucket")
            return self._xml_request(request, bucket, name) if name else self._xml_list(request, bucket)

    # What both interfaces do.

    def _put(self, bucket: str, name: str, data: bytes, only_over: str | None) -> Blob | None:
        """Stores an object; None if there is another generation of it than the request wants, where 0 is none."""
        there = self._buckets[bucket].get(name)
        if only_over is not None and int(only_over) != (there.generation if there else 0):
            return None
        blob = self._buckets[bucket][name] = Blob(data, next(self._numbers))
        return blob

    def _listed(self, request: Request, bucket: str, after: str) -> tuple[list[str], list[str], str]:
        """Returns names, names of folders, and where the next page begins, if there is one."""
        prefix, delimiter = request.args.get("prefix", ""), request.args.get("delimiter", "")
        names: dict[str, bool] = {}
        for name in sorted(one for one in self._buckets[bucket] if one.startswith(prefix)):
            end = name.find(delimiter, len(prefix)) if delimiter else -1
            names[name if end < 0 else name[: end + 1]] = end >= 0
        left = sorted(one for one in names if one > after)
        page, more = left[:PAGE], left[PAGE:]
        return [one for one in page if not names[one]], [one for one in page if names[one]], page[-1] if more else ""

    # JSON

    def _json_request(self, request: Request, bucket: str, is_object: bool, name: str | None) -> Response:
        if bucket not in self._buckets:
            return _refused(request, 404, "The specified bucket does not exist.")
        if not is_object:
            return _json({"kind": "storage#bucket", "name": bucket, "id": bucket})
        if name is None:
            names, folders, more = self._listed(request, bucket, request.args.get("pageToken", ""))
            items = [_facts(bucket, one, self._buckets[bucket][one]) for one in names]
            page = {"kind": "storage#objects", "items": items, "prefixes": folders}
            return _json({**page, "nextPageToken": more} if more else page)
        if copied := re.fullmatch(r"(.+)/(?:rewriteTo|copyTo)/b/([^/]+)/o/(.+)", name):
            source = self._buckets[bucket].get(copied[1])
            blob = self._put(copied[2], copied[3], source.data, None) if source else None
            if not source or not blob:
                return _refused(request, 404, "No such object")
            facts = _facts(copied[2], copied[3], blob)
            return _json({"kind": "storage#rewriteResponse", "done": True, "resource": facts} | _sizes(blob))
        if (blob := self._buckets[bucket].get(name)) is None:
            return _refused(request, 404, "No such object")
        if request.method == "DELETE":
            del self._buckets[bucket][name]
            return Response(status=204)
        return _read(request, blob) if request.args.get("alt") == "media" else _json(_facts(bucket, name, blob))

    def _begin(self, request: Request, bucket: str) -> Response:
        """Begins an upload, or takes the whole of a small one."""
        if bucket not in self._buckets:
            return _refused(request, 404, "The specified bucket does not exist.")
        name, only_over = request.args.get("name"), request.args.get("ifGenerationMatch")
        if request.args["uploadType"] == "multipart":
            mark = re.search(r"boundary=\"?([^\";]+)", request.headers["Content-Type"])
            assert mark
            facts, data = (part.partition(b"\r\n\r\n")[2] for part in request.data.split(b"--" + mark[1].encode())[1:3])
            return self._done(request, bucket, name or json.loads(facts)["name"], data.removesuffix(b"\r\n"), only_over)
        if request.args["uploadType"] == "media":
            return self._done(request, bucket, name or "", request.data, only_over)
        session = f"s{next(self._numbers)}"
        self._sessions[session] = (bucket, name or json.loads(request.data)["name"], only_over, b"")
        return Response(headers={"Location": f"{request.host_url}upload/session/{session}"})

    def _go_on(self, request: Request, session: str) -> Response:
        if session not in self._sessions:
            return _refused(request, 404, "No such upload")
        bucket, name, only_over, data = self._sessions[session]
        data += request.data
        self._sessions[session] = (bucket, name, only_over, data)
        if request.headers.get("Content-Range", "").endswith("/*"):  # more comes
            return Response(status=308, headers={"Range": f"bytes=0-{len(data) - 1}"} if data else {})
        return self._done(request, bucket, name, data, only_over)

    def _done(self, request: Request, bucket: str, name: str, data: bytes, only_over: str | None) -> Response:
        blob = self._put(bucket, name, data, only_over)
        return _json(_facts(bucket, name, blob)) if blob else _refused(request, 412, "conditionNotMet")

    # XML

    def _xml_list(self, request: Request, bucket: str) -> Response:
        names, folders, more = self._listed(request, bucket, request.args.get("continuation-token", ""))
        parts = [f"<Name>{bucket}</Name><IsTruncated>{str(bool(more)).lower()}</IsTruncated>"]
        parts += [f"<NextContinuationToken>{escape(more)}</NextContinuationToken>"] if more else []
        for name in names:
            blob = self._buckets[bucket][name]
            parts.append(
                f"<Contents><Key>{escape(name)}</Key><LastModified>{blob.made}</LastModified>"
                f'<ETag>"{blob.generation}"</ETag><Size>{len(blob.data)}</Size></Contents>'
            )
        parts += [f"<CommonPrefixes><Prefix>{escape(one)}</Prefix></CommonPrefixes>" for one in folders]
        return _xml("ListBucketResult", "".join(parts))

    def _xml_request(self, request: Request, bucket: str, name: str) -> Response:
        blobs, upload = self._buckets[bucket], request.args.get("uploadId")
        if request.method == "POST" and "uploads" in request.args:
            self._parts[upload := f"u{next(self._numbers)}"] = {}
            return _xml("InitiateMultipartUploadResult", f"<UploadId>{upload}</UploadId>")
        if upload and request.method == "PUT":
            self._parts[upload][int(request.args["partNumber"])] = request.data
            return Response(headers={"ETag": '"part"'})
        if upload and request.method == "POST":
            parts = self._parts.pop(upload)
            return self._stored(request, bucket, name, b"".join(parts[one] for one in sorted(parts)))
        if upload:
            self._parts.pop(upload, None)
            return Response(status=204)
        if request.method == "PUT" and (source := request.headers.get("x-goog-copy-source")):
            other, _, inside = unquote(source).lstrip("/").partition("/")
            if inside not in self._buckets[other]:
                return _refused(request, 404, "NoSuchKey")
            return self._stored(request, bucket, name, self._buckets[other][inside].data)
        if request.method == "PUT":
            return self._stored(request, bucket, name, request.data)
        if name not in blobs:
            return _refused(request, 404, "NoSuchKey")
        if request.method == "DELETE":
            del blobs[name]
            return Response(status=204)
        return _read(request, blobs[name])

    def _stored(self, request: Request, bucket: str, name: str, data: bytes) -> Response:
        blob = self._put(bucket, name, data, request.headers.get("x-goog-if-generation-match"))
        if blob is None:
            return _refused(request, 412, "PreconditionFailed")
        answer = _xml("CompleteMultipartUploadResult", f'<ETag>"{blob.generation}"</ETag>')
        answer.headers |= {"ETag": f'"{blob.generation}"', "x-goog-generation": str(blob.generation)}
        return answer


def _read(request: Request, blob: Blob) -> Response:
    facts = {
        "ETag": f'"{blob.generation}"',
        "x-goog-generation": str(blob.generation),
        "Last-Modified": formatdate(blob.made_at, usegmt=True),
        "Content-Type": "application/octet-stream",
    }
    asked = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("Range", ""))
    if not asked:
        return Response(blob.data, headers=facts)
    size = len(blob.data)
    begin = int(asked[1]) if asked[1] else max(size - int(asked[2]), 0)
    end = min(int(asked[2]) + 1, size) if asked[1] and asked[2] else size
    if begin >= size:
        return Response(status=416)
    return Response(blob.data[begin:end], 206, {**facts, "Content-Range": f"bytes {begin}-{end - 1}/{size}"})


def _facts(bucket: str, name: str, blob: Blob) -> dict[str, str]:
    facts = {"kind": "storage#object", "bucket": bucket, "name": name, "size": str(len(blob.data))}
    return facts | {
        "generation": str(blob.generation),
        "metageneration": "1",
        "updated": blob.made,
        "timeCreated": blob.made,
    }


def _sizes(blob: Blob) -> dict[str, str]:
    return {"objectSize": str(len(blob.data)), "totalBytesRewritten": str(len(blob.data))}


def _json(values: Mapping[str, object]) -> Response:
    return Response(json.dumps(values), content_type="application/json")


def _xml(root: str, inside: str) -> Response:
    return Response(f"<?xml version='1.0' encoding='UTF-8'?><{root}>{inside}</{root}>", content_type="application/xml")


def _refused(request: Request, status: int, code: str) -> Response:
    if "/storage/v1/" in request.path or request.path.startswith("/upload/"):
        answer = _json({"error": {"code": status, "message": code, "errors": [{"reason": code}]}})
    else:
        answer = _xml("Error", f"<Code>{code}</Code><Message>{code}</Message>")
    answer.status_code = status
    return answer


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"  # a connection serves many requests
    disable_nagle_algorithm = True  # or each answer waits for 40 ms

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Says nothing."""


def main(buckets: Iterable[str]) -> None:
    """Serves, and prints the URL."""
    storage = GoogleStorage(buckets)
    server = make_server("127.0.0.1", 0, Request.application(storage.answer), threaded=True, request_handler=_Quiet)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


@contextmanager
def serving(*buckets: str) -> Iterator[str]:
    """Yields the URL of a server with these buckets. It has a process of its own: Arrow holds the lock of Python while
    it waits for an answer."""
    command = [sys.executable, "-m", __name__, *buckets]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


if __name__ == "__main__":
    main(sys.argv[1:])
