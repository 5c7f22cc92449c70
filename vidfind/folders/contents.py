"""The kind of a file by its first bytes, where its name does not say: a program text is called `index.ts` too.

Uses only the standard library.
"""

import codecs
import os
import re
from typing import BinaryIO

from vidfind.folders.names import VIDEO_EXTENSIONS, extension, is_video_name

HEAD = 4096  # bytes
LARGEST_OTHER = 16 * 2**20  # bytes; a larger file with an extension of a video is one

SHARED_EXTENSIONS = frozenset(
    (".ts", ".mts", ".mod", ".mpv", ".m4v", ".vob", ".tp", ".rm", ".dv", ".avc", ".obu", ".amv")
)
"""Extensions that other files have too: TypeScript, trackers' music, `go.mod`, translations. Not videos if their bytes
say so."""

RARE_EXTENSIONS = frozenset((".dat", ".ps", ".ogg"))
"""Extensions that seldom mean a video (a Video CD has AVSEQ01.DAT): videos only if their bytes say so."""

LOOKED_AT = VIDEO_EXTENSIONS | RARE_EXTENSIONS

OTHER_EXTENSIONS = frozenset((
    ".txt", ".srt", ".sub", ".idx", ".vtt", ".ass", ".nfo", ".md", ".log", ".json", ".xml", ".xmp", ".csv", ".url",
    ".ini", ".db", ".m4a", ".m4b", ".mp3", ".mp2", ".mka", ".aac", ".ac3", ".dts", ".wma", ".wav", ".oga", ".opus",
    ".flac", ".amr", ".mid", ".jpg", ".jpeg", ".png", ".heic", ".thm", ".pdf", ".zip", ".torrent", ".part", ".lnk",
))  # fmt: skip
"""Extensions that say what a file is not, where its bytes say nothing."""

OTHERS = re.compile(
    # Pictures
    rb"\xff\xd8\xff|\x89PNG|GIF8|BM.{4}\0\0\0\0|II\*\0|MM\0\*|RIFF.{4}(?:WEBP|WAVE)|8BPS|\0\0\x01\0[\x01-\x20]\0|"
    rb"\xff\x0a|\0\0\0\x0cJXL |\0\0..ftyp(?:heic|heix|heim|heis|mif1|avif|crx |M4A |M4B )|"
    # Sound
    rb"ID3|\xff[\xfb\xfa\xf3\xf2\xf1\xf9]|fLaC|OggS(?!.{0,400}theora)|FORM.{4}AIF|MThd|\x0b\x77|MAC |wvPK|#!AMR|"
    # Documents, programs, what macOS and Windows keep beside files, trackers' music
    rb"%PDF|%!PS|PK\x03\x04|\x1f\x8b|7z\xbc\xaf|Rar!|BZh|\xfd7zXZ|\xd0\xcf\x11\xe0|SQLite format 3|"
    rb"\x7fELF|MZ|\xcf\xfa\xed\xfe|\xca\xfe\xba\xbe|\0\x05\x16\x07|\0\x05\x16\0|L\0\0\0\x01\x14\x02\0|Bud1|\0\0\0\x01Bud1|"
    rb"Extended Module: |IMPM|.{1080}(?:M\.K\.|M!K!|FLT[48]|[4-9]CHN|\d\dCH)",
    re.DOTALL,
)
VIDEOS = re.compile(
    rb"\0\0\x01[\xba\xb3]|RIFF.{4}(?:CDXA|AVI )|OggS.{0,400}theora|\x47.{187}\x47.{187}\x47|.{4}\x47.{191}\x47|"
    rb".{4}ftyp(?!heic|heix|heim|heis|mif1|avif|crx |M4A |M4B )|\x1a\x45\xdf\xa3",
    re.DOTALL,
)
PICTURES = re.compile(
    rb"\xff\xd8\xff|II\*\0|MM\0\*|.{4}ftyp(?:heic|heix|heim|heis|hevc|hevx|mif1|msf1|avif|avis)", re.DOTALL
)
"""The pictures that cameras write: JPEG, TIFF and so DNG, HEIC, AVIF."""
TEXT_CONTROLS = b"\t\n\r\f\x1b"


def may_be_video(name: str) -> bool:
    """Whether a file found in a folder is looked at."""
    return extension(name) in LOOKED_AT


def is_video(path: str, size: int, is_named: bool = False) -> bool:
    """Whether a regular file is taken for a video, by its extension, and by its first bytes where those are shared."""
    ending = extension(path)
    is_rare = ending in RARE_EXTENSIONS
    is_shared = ending in SHARED_EXTENSIONS and size <= LARGEST_OTHER
    is_shared |= os.path.basename(path).startswith("._")  # what macOS keeps beside a file, in its name
    try:
        if ending == ".gif":
            with open(path, "rb") as file:
                return not is_still_gif(file)
        if is_rare and not is_named:
            return is_video_content(read_head(path))
        if is_rare or is_shared or (is_named and not is_video_name(path)):
            return not is_other_content(read_head(path), ending)
    except OSError:
        pass  # the decoder says why it cannot be read
    return True


def is_video_content(head: bytes) -> bool:
    """Whether the first bytes are those of a usual container of videos."""
    return VIDEOS.match(head) is not None


def is_picture_content(head: bytes) -> bool:
    """Whether the first bytes are those of a picture as cameras write them."""
    return PICTURES.match(head) is not None


def is_other_content(head: bytes, ending: str = "") -> bool:
    """Whether the first bytes are those of a picture, a sound, a text or a program; `ending` is the extension, which
    decides where the bytes do not."""
    if is_video_content(head):
        return False
    return OTHERS.match(head) is not None or _is_text(head) or ending in OTHER_EXTENSIONS


def _is_text(head: bytes) -> bool:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return True
    if not head or any(byte < 32 and byte not in TEXT_CONTROLS for byte in head):
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # its last letter may be cut
        return True
    except UnicodeDecodeError:
        return sum(byte >= 128 for byte in head) * 4 < len(head)  # an older encoding of letters


def is_still_gif(file: BinaryIO) -> bool:
    """Whether a GIF is whole and has one picture alone. Reads no further than to the second one."""
    head = file.read(13)
    if not head.startswith(b"GIF8") or len(head) < 13:
        return False
    file.seek(_colours(head[10]), os.SEEK_CUR)
    pictures = 0
    while pictures < 2 and (mark := file.read(1)) in (b"!", b","):
        if mark == b"!":
            file.seek(1, os.SEEK_CUR)
        else:
            pictures += 1
            file.seek(_colours(file.read(9).ljust(9, b"\0")[8]) + 1, os.SEEK_CUR)
        while length := file.read(1):  # blocks, each with its length, up to an empty one
            if length == b"\0":
                break
            file.seek(length[0], os.SEEK_CUR)
    return pictures == 1 and mark == b";"


def _colours(flags: int) -> int:
    """The bytes of the table of colours that these flags announce."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def read_head(path: str) -> bytes:
    """The first bytes of a file. Raises OSError."""
    with open(path, "rb") as file:
        return file.read(HEAD)
