"""The meaning of the names of files and folders: which are videos, and which folders hold nothing that a person filmed.

Names are compared without regard to case. Uses only the standard library, and reads no file.
"""

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from fnmatch import translate

# fmt: off
VIDEO_EXTENSIONS = frozenset((
    ".264", ".265", ".360", ".3g2", ".3gp", ".3gpp", ".amv", ".asf", ".avc", ".avi", ".dav", ".divx", ".dv", ".dvr-ms",
    ".evo", ".f4v", ".flv", ".gif", ".glv", ".h264", ".h265", ".hevc", ".insv", ".ismv", ".ivf", ".lrf", ".lrv",
    ".m1v", ".m2p", ".m2t", ".m2ts", ".m2v", ".m4v", ".mj2", ".mjpeg", ".mjpg", ".mk3d", ".mkv", ".mod", ".mov",
    ".mp4", ".mpe", ".mpeg", ".mpg", ".mpv", ".mts", ".mxf", ".nsv", ".nut", ".nuv", ".obu", ".ogm", ".ogv", ".ogx",
    ".osv", ".qt", ".rm", ".rmvb", ".tod", ".tp", ".trp", ".ts", ".vob", ".vro", ".webm", ".wmv", ".wtv", ".y4m",
))
# fmt: on


class Reason(StrEnum):
    """Why a file or folder is left out, in words that name such files and folders."""

    BIN = "bins"
    SYSTEM = "folders of the system, of a NAS or of snapshots"
    LIBRARY = "parts of photo and film libraries other than the originals"
    PROGRAM = "folders of programs, and their caches"
    DOWNLOAD = "unfinished downloads"
    PROXY = "proxies whose original is there"
    LIVE_PHOTO = "moving parts of Live Photos"
    NO_VIDEO = "files that are no videos"
    IGNORED = "what a .vidfindignore names"


LEFT_OUT: Mapping[Reason, Sequence[str]] = {
    Reason.BIN: (
        "$recycle.bin", "recycler", "recycled",  # Windows
        ".trash", ".trash-*", ".trashes", "network trash folder",  # Linux, macOS
        "#recycle", "@recycle", ".recycle", "trashbox", "files_trashbin",  # Synology, QNAP, Samba, Buffalo, Nextcloud
    ),
    Reason.SYSTEM: (
        "system volume information", "found.[0-9][0-9][0-9]", "lost+found", "lost.dir",
        ".spotlight-v100", ".fseventsd", ".temporaryitems", "temporary items", ".documentrevisions-v100",
        "@eadir", "@tmp", "@sharesnap", "@sharebin",  # Synology
        ".@__thumb", "@transcode",  # QNAP
        "#snapshot", "@recently-snapshot", "~snapshot", ".snapshot", ".snapshots", ".zfs", "files_versions",
        "backups.backupdb", "*.sparsebundle", "*.backupbundle",  # Time Machine
    ),
    Reason.PROGRAM: (
        "node_modules", "bower_components", "site-packages", "*.app", "*.framework",
        "*.lrdata",  # previews of Lightroom
        "adobe premiere pro * previews", "adobe premiere pro * files", "*.prv", "media cache files",
        "cacheclip", "plex versions",  # DaVinci Resolve, Plex
    ),
    Reason.DOWNLOAD: ("*.download",),  # Safari's, each with a file that has its final name already
}  # fmt: skip
"""Folders that are left out, with all below them. A folder that is named is searched whatever its name."""

LIBRARIES: Mapping[str, Sequence[str]] = {
    "*.photoslibrary": ("originals", "masters"),
    "*.photolibrary": ("originals", "masters"),
    "*.migratedphotolibrary": ("originals", "masters"),
    "*.aplibrary": ("masters",),
    "*.migratedaplibrary": ("masters",),
    "*.cocatalog": ("originals",),
}
"""Packages of photo programs, and the folders within each that hold what a person filmed."""

FILM_LIBRARIES = ("*.fcpbundle", "*.imovielibrary")
FILM_LIBRARY_PARTS = ("render files", "transcoded media", "analysis files", "proxy media", "thumbnail media", "__temp")
"""Folders that Final Cut and iMovie make from the originals, anywhere in their libraries."""


def _pattern(patterns: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(translate, patterns)))


_LEFT_OUT = {reason: _pattern(patterns) for reason, patterns in LEFT_OUT.items()}
_LIBRARIES = [(_pattern([name]), _pattern(originals)) for name, originals in LIBRARIES.items()]
_FILM_LIBRARIES = _pattern(FILM_LIBRARIES)


def extension(name: str) -> str:
    """The extension in small letters, with its dot; "" for none."""
    return name[dot:].lower() if (dot := name.rfind(".")) > 0 else ""


def is_video_name(name: str) -> bool:
    return extension(name) in VIDEO_EXTENSIONS


def why_left_out(name: str, parents: Sequence[str]) -> Reason | None:
    """Why a folder within a searched one is left out, or None. `parents` are the names of the folders it lies in, from
    the outermost to the nearest, all in small letters."""
    name = name.lower()
    for reason, pattern in _LEFT_OUT.items():
        if pattern.match(name):
            return reason
    if parents and any(library.match(parents[-1]) and not part.match(name) for library, part in _LIBRARIES):
        return Reason.LIBRARY
    if name in FILM_LIBRARY_PARTS and any(map(_FILM_LIBRARIES.match, parents)):
        return Reason.LIBRARY
    return None
