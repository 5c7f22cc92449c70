"""`vidfind export --join`: one film of all moments, one after another. Times are in seconds."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path

from vidfind.errors import UnreadableVideo
from vidfind.export.clips import Event, Failed, Film, Progress, Written, inside, kept_metadata, raising_ours
from vidfind.export.names import new_file, safe_name
from vidfind.export.picture import Pictures, Shape, common_shape, shape_of
from vidfind.export.sound import COMMON_FORM, Sound
from vidfind.export.wanted import Wanted
from vidfind.media.probe import probe


def join_clips(wanted: Sequence[Wanted], file: Path) -> Generator[Event]:
    """Writes one film of all moments, and yields what happens; the last event is the Written, if any can be read.

    Clips of other sizes are fitted into the largest, and of several kinds of colours, all become BT.709. The date of
    the film is that of the first clip. Raises StorageError."""
    good: list[tuple[Wanted, Path]] = []
    shapes: dict[Path, Shape] = {}
    forms: dict[Path, tuple[int, str] | None] = {}
    for one in wanted:
        path = one.present_path
        try:
            inside(one, probe(path))
            if path not in shapes:
                shapes[path], forms[path] = _first_shape(path), Sound(path, 0.0).form
            good.append((one, path))
        except UnreadableVideo as error:
            yield Failed(one, str(error))
    if not good:
        return
    total = sum(one.end - one.start for one, _ in good)
    heard = {form for form in forms.values() if form}
    form = next(iter(heard)) if len(heard) == 1 else COMMON_FORM if heard else None
    shape = common_shape([shapes[path] for _, path in good])
    with new_file(file) as (part, placed):
        with raising_ours(part), Film(part, form, shape) as film:
            first = good[0][1]
            film.describe(kept_metadata(first, probe(first)))
            for number, (one, path) in enumerate(good, start=1):
                try:
                    for length in film.add(path, *inside(one, probe(path))):
                        yield Progress(path, number, len(good), length, total)
                except UnreadableVideo as error:
                    yield Failed(one, str(error))
        if not film.length:
            raise UnreadableVideo("None of the moments can be read.")
    yield Written(placed[0], None, film.length)


def film_path(wanted: Sequence[Wanted], place: Path) -> Path:
    """Returns the file for a film: `place` if that ends in .mp4, else one in this folder, named after the query."""
    if place.suffix.lower() == ".mp4" and not place.is_dir():
        return place
    queries = {one.query for one in wanted}
    name = safe_name(queries.pop()) if len(queries) == 1 and queries != {""} else "film"
    return place / f"{name}.mp4"


def _first_shape(path: Path) -> Shape:
    """Returns the shape of a video, by its first frame. Raises UnreadableVideo."""
    pictures = Pictures(path, 0.0, probe(path).duration)
    with closing(pictures.shown()) as frames:
        (frame, _, _), stream = next(frames)
        return shape_of(pictures, frame, stream)
