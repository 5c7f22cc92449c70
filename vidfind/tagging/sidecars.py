"""Tags as XMP sidecars: small files of XML beside a video or in another folder, as photo programs read and write them.

A sidecar knows neither that a video does not have a tag, nor tags of a part: lists keep both, see lists.py.
"""

from __future__ import annotations

import os
import xml.etree.ElementTree as xml
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from vidfind.errors import BadInput, Unusable
from vidfind.store.store import Store
from vidfind.store.tables import VideoRow
from vidfind.system.storage import atomic_write, storage_errors
from vidfind.tagging.edit import Import, tag_label
from vidfind.tagging.labels import Label, clean_name, name_key, says_of_video
from vidfind.tagging.lists import Named, Skipped, VideoFinder

ENDING = ".xmp"
MOST_BYTES = 10_000_000
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
NAMESPACES = {
    "x": "adobe:ns:meta/",
    "rdf": RDF,
    "dc": "http://purl.org/dc/elements/1.1/",
    "digiKam": "http://www.digikam.org/ns/1.0/",
    "lr": "http://ns.adobe.com/lightroom/1.0/",
}
PROPERTIES = (
    ("dc", "subject", "Bag", "/"),
    ("digiKam", "TagsList", "Seq", "/"),
    ("lr", "hierarchicalSubject", "Bag", "|"),
)
"""The properties that hold tags, their kind of list, and what stands there between a tag and those above it."""


# Writing


def sidecar_path(row: VideoRow, folder: Path | None, has_many: bool) -> Path:
    """Returns the path of the sidecar of a video: beside it, or within `folder` as the video lies in the indexed one.

    `has_many`: the index has several folders, so that their names are needed too."""
    name = f"{row.path.name}{ENDING}"
    if folder is None:
        return row.path.with_name(name)
    root = row.folder.parent if has_many or row.folder == row.path else row.folder
    return folder / row.path.relative_to(root).with_name(name)


def tags_of_videos(store: Store) -> dict[str, list[str]]:
    """Returns the tags that the owner gave to each video or a part of it, by its fingerprint and in the order given."""
    labels: dict[str, dict[str, list[Label]]] = defaultdict(lambda: defaultdict(list))
    for label in store.labels("tag"):
        labels[label.video][name_key(label.name)].append(label)
    found = {
        video: [own[0].name for own in by_name.values() if says_of_video(own) > 0] for video, by_name in labels.items()
    }
    return {video: names for video, names in found.items() if names}


def write_sidecar(file: Path, names: Sequence[str]) -> None:
    """Writes the tags of a video; what else is in a sidecar that is there stays. Raises BadInput, StorageError."""
    for prefix, uri in NAMESPACES.items():
        xml.register_namespace(prefix, uri)
    root = _read(file) if file.exists() else xml.Element(_full("x", "xmpmeta"))
    rdf = root if root.tag == _full("rdf", "RDF") else root.find(_full("rdf", "RDF"))
    if rdf is None:
        rdf = xml.SubElement(root, _full("rdf", "RDF"))
    described = rdf.findall(_full("rdf", "Description"))
    about = described[0] if described else xml.SubElement(rdf, _full("rdf", "Description"), {_full("rdf", "about"): ""})
    for prefix, name, kind, mark in PROPERTIES:
        for one in described:
            for old in one.findall(_full(prefix, name)):
                one.remove(old)
        items = xml.SubElement(xml.SubElement(about, _full(prefix, name)), _full("rdf", kind))
        for tag in names:
            xml.SubElement(items, _full("rdf", "li")).text = tag.replace("/", mark)
    xml.indent(root)
    text = xml.tostring(root, encoding="unicode")
    with storage_errors(file.parent):
        file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(file) as part:
        part.write_text(
            f'<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n{text}\n<?xpacket end="w"?>\n', encoding="utf-8"
        )


def _full(prefix: str, name: str) -> str:
    return f"{{{NAMESPACES[prefix]}}}{name}"


# Reading


def read_sidecars(place: Path, finder: VideoFinder, said: Mapping[tuple[str, str], Sequence[Label]]) -> Import:
    """Returns the tags of a sidecar, or of all sidecars in a folder and those below it.

    Line 0 stands for what is no line. `said` are labels by the keys of their names and their videos: a tag that a part
    of a video has is known already.
    Raises Unusable for a folder without sidecars."""
    files = sorted(path for path in place.rglob("*") if path.suffix.lower() == ENDING) if place.is_dir() else [place]
    if not files:
        raise Unusable(f"{place} holds no {ENDING} files.")
    base = place if place.is_dir() else place.parent
    found = Import()
    seen: set[str] = set()
    for file in files:
        text = str(file.relative_to(base))
        try:
            video = _video_of(text.removesuffix(file.suffix), finder)
            found.by_name |= {text: video.row.path} if video.by_name else {}
            for name in tags_in(_read(file)):
                label = tag_label(video.row, clean_name(name), 1)
                if says_of_video(said.get((name_key(label.name), label.video), ())) > 0:
                    label = next(one for one in said[name_key(label.name), label.video] if one.is_yes)
                found.duplicates += label.id in seen
                found.labels += [label] if label.id not in seen else []
                seen.add(label.id)
        except BadInput as error:
            shown = str(error)
            found.skipped.append(Skipped(0, f"{text}: {shown}" if shown[0].isupper() else f"{text} {shown}"))
    return found


def _video_of(text: str, finder: VideoFinder) -> Named:
    """Returns the video of a sidecar, whose name may lack the ending of the video's. Raises BadInput."""
    try:
        return finder.find(text)
    except BadInput:
        for ending in finder.endings():
            if finder.names_any(text + ending):
                return finder.find(text + ending)
        raise


def _read(file: Path) -> xml.Element:
    """Returns the outermost element of a sidecar. Raises BadInput."""
    try:
        if os.path.getsize(file) > MOST_BYTES:
            raise BadInput(f"is larger than {MOST_BYTES:,} bytes, and no sidecar")
        return xml.fromstring(file.read_bytes())
    except OSError as error:
        raise BadInput(f"cannot be read: {error.strerror or error}") from error
    except (xml.ParseError, ValueError) as error:
        raise BadInput(f"is no XMP: {error}") from error


def tags_in(root: xml.Element) -> list[str]:
    """Returns the tags of a sidecar: its keywords, or else the lowest parts of its tags in levels."""
    for prefix, name, _, mark in PROPERTIES:
        items = [
            (item.text or "").strip()
            for element in root.iter(_full(prefix, name))
            for item in element.iter(_full("rdf", "li"))
        ]
        if names := list(dict.fromkeys(filter(None, items))):
            return names if prefix == "dc" else [one.rpartition(mark)[2] for one in names]
    return []


def sidecars(store: Store, folder: Path | None) -> Iterator[tuple[Path, list[str]]]:
    """Yields the path of the sidecar of each video with tags, and the tags.

    Each copy of a video gets one."""
    tags = tags_of_videos(store)
    has_many = len(store.folders()) > 1
    for row in sorted(store.videos().values(), key=lambda row: row.path):
        if not row.failed and (names := tags.get(row.fingerprint)):
            yield sidecar_path(row, folder, has_many), names
