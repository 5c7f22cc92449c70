"""Proxies and Live Photos: videos that a camera or an editing program has put beside an original.

Decides by names; the length of what may be a part of a Live Photo is read from its header. Times are in seconds.
"""

import os
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from vidfind.folders.contents import is_picture_content, read_head
from vidfind.folders.names import VIDEO_EXTENSIONS, Reason, extension

PROXY_EXTENSIONS = frozenset((".lrv", ".lrf", ".glv"))  # GoPro, DJI, Garmin
ORIGINAL_EXTENSIONS = VIDEO_EXTENSIONS - PROXY_EXTENSIONS
PICTURE_EXTENSIONS = frozenset((".heic", ".heif", ".hif", ".jpg", ".jpeg", ".avif", ".dng"))
LIVE_PHOTO_EXTENSIONS = frozenset((".mov", ".mp4"))
LIVE_PHOTO_SECONDS = 4.0
LIVE_PHOTO_SIZE = 64 * 2**20  # bytes; the header of a larger file is not read

PROXY_FOLDERS = frozenset(("proxy", "proxies", "proxymedia", "proxy media"))
SONY_FOLDER = "sub"
"""Folders that may hold proxies of what lies in the folder above them, or in another folder beside them: those of
Premiere, Resolve, Blackmagic and Panasonic cameras, and Sony's, where C0001S03.MP4 is the proxy of C0001.MP4."""

SUFFIX = re.compile(r"[ ._-](?:proxy|lores|lowres|thm)$|(?<=\d)_p$")
SONY_SUFFIX = re.compile(r"s\d\d$")
INSTA360 = re.compile(r"(?P<pro>pro_)?(?P<kind>vid|lrv)_(?P<time>\d{8}_\d{6})_\d\d_(?P<number>\d+)")
GOPRO = re.compile(r"gl(?P<number>\d{6})$")


@dataclass(frozen=True)
class ProxyFolder:
    """A folder of proxies; `originals` are the names, without extensions, of videos that may be their originals."""

    name: str
    originals: frozenset[str]

    def holds_proxy(self, stem: str) -> bool:
        """Whether the video of this name, without its extension, is the proxy of an original."""
        names = {SONY_SUFFIX.sub("", stem)} - {stem}
        if self.name != SONY_FOLDER:  # where a folder is just called `sub`, its videos may have any names
            names |= {stem, SUFFIX.sub("", stem)}
        return not self.originals.isdisjoint(names)


@dataclass(frozen=True)
class Companions:
    """The names in one folder that say which of its videos are only parts or proxies of others."""

    originals: frozenset[str]
    """Names, in small letters and without extensions, of videos that may be originals of a proxy beside them."""
    pictures: Mapping[str, str]
    """Names of pictures, by these names in small letters, with and without their extensions."""

    def why_left_out(self, name: str, path: str, proxies: ProxyFolder | None = None) -> Reason | None:
        """Why the video of this name is left out, or None. `proxies` is the folder of proxies that it lies in, if it
        does."""
        ending = extension(name)
        stem = name[: len(name) - len(ending)].lower()
        if proxies and proxies.holds_proxy(stem):
            return Reason.PROXY
        if not self.originals.isdisjoint(_originals_beside(stem, ending)):
            return Reason.PROXY
        picture = self.pictures.get(stem) or self.pictures.get(stem.removesuffix("_hevc"))  # as iCloud names some
        if ending not in LIVE_PHOTO_EXTENSIONS or picture is None:
            return None
        is_part = _is_short(path) and _is_picture(os.path.join(os.path.dirname(path), picture))
        return Reason.LIVE_PHOTO if is_part else None


def companions(names: Iterable[str]) -> Companions:
    """The companions among the names of a folder."""
    originals: set[str] = set()
    pictures: dict[str, str] = {}
    for name in names:
        ending = extension(name)
        stem = name[: len(name) - len(ending)].lower()
        if ending in PICTURE_EXTENSIONS:
            pictures |= {stem: name, name.lower(): name}
        elif ending in ORIGINAL_EXTENSIONS:
            originals.add(stem)
            if (match := INSTA360.match(stem)) and match["kind"] == "vid":
                originals.add(_insta360_key(match))
    return Companions(frozenset(originals), pictures)


def _originals_beside(stem: str, ending: str) -> Iterator[str]:
    """Names that the original of a video in the same folder may have, if its name is that of a proxy."""
    if ending in PROXY_EXTENSIONS:
        yield stem
        if match := GOPRO.match(stem):
            yield from (f"{letters}{match['number']}" for letters in ("gx", "gh"))
    if SUFFIX.search(stem):
        yield SUFFIX.sub("", stem)
    if (match := INSTA360.match(stem)) and match["kind"] == "lrv":
        yield _insta360_key(match)


def _insta360_key(match: re.Match[str]) -> str:
    """The part that the names of a take's files have in common: the number of the lens differs."""
    return f"{match['pro']} {match['time']} {match['number']}"


def _is_picture(path: str) -> bool:
    """Whether the first bytes of a file are those of a picture."""
    try:
        return is_picture_content(read_head(path))
    except OSError:
        return False


def _is_short(path: str) -> bool:
    """Whether the header of a QuickTime or MP4 file gives it the length of a Live Photo."""
    try:
        if os.stat(path).st_size > LIVE_PHOTO_SIZE:
            return False
        with open(path, "rb") as file:
            seconds = _claimed_seconds(file)
    except (OSError, struct.error):
        return False
    return seconds is not None and 0 < seconds <= LIVE_PHOTO_SECONDS


def _claimed_seconds(file: BinaryIO) -> float | None:
    """The length that a QuickTime or MP4 file gives in its movie header (mvhd), or None."""
    for kind, end in _boxes(file, os.fstat(file.fileno()).st_size):
        if kind == b"moov":
            for inner, _ in _boxes(file, end):
                if inner == b"mvhd":
                    version = file.read(4)[0]
                    file.seek(16 if version else 8, os.SEEK_CUR)
                    scale, length = struct.unpack(">IQ" if version else ">II", file.read(12 if version else 8))
                    return length / scale if scale else None
    return None


def _boxes(file: BinaryIO, until: int) -> Iterator[tuple[bytes, int]]:
    """The boxes from here to the byte `until`, with the byte where each ends; the file stands behind the header."""
    while (start := file.tell()) < until:
        size, kind = struct.unpack(">I4s", file.read(8))
        if size == 1:
            (size,) = struct.unpack(">Q", file.read(8))
        end = start + size if size else until
        if end < file.tell():
            return
        yield kind, end
        file.seek(end)
