"""Makes clips and timelines of chosen moments, in a folder of their own, for the browser to download.

Times are in seconds.
"""

from __future__ import annotations

import json
import secrets
import shutil
import threading
import zipfile
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vidfind.errors import BadInput, VidfindError
from vidfind.export.clips import Failed, Progress, export_clips, padded
from vidfind.export.join import film_path, join_clips
from vidfind.export.names import safe_name
from vidfind.export.source import Cut, make_cuts
from vidfind.export.timeline import write_timeline
from vidfind.export.wanted import Wanted
from vidfind.system.mistakes import mistake_sentence
from vidfind.web.replies import Busy, NotHere, readable, split_remedy

FORMS = ("clips", "join", "otio", "edl", "fcpxml", "m3u", "csv")
MOST_MOMENTS = 500
MOST_WAITING = 4
KEPT = 4
"""Exports whose files are kept; the oldest go."""
LONGEST_PAD = 600.0


@dataclass
class Job:
    """An export: `done` of `total` seconds of clips are made, and then `file` is the one to download."""

    wanted: Sequence[Wanted]
    form: str
    folder: Path
    done: float = 0.0
    total: float = 0.0
    file: Path | None = None
    error: VidfindError | None = None
    remarks: list[str] = field(default_factory=list)
    is_stopped: bool = False

    @property
    def is_over(self) -> bool:
        return self.file is not None or self.error is not None


class Exports:
    """The exports of a page, one made after the other."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(1, "export")

    def begin(self, wanted: Sequence[Wanted], form: str, pad: float, remarks: Sequence[str] = ()) -> str:
        """Begins to make an export, and returns its name. Raises Busy while too many wait.

        `remarks` say what of it cannot be made."""
        with self._lock:
            if sum(not job.is_over for job in self._jobs.values()) >= MOST_WAITING:
                raise Busy("Too many exports wait already. Begin this one when they are done.")
            over = [name for name, job in self._jobs.items() if job.is_over]
            for name in over[: max(0, len(over) - KEPT + 1)]:
                shutil.rmtree(self._jobs.pop(name).folder, ignore_errors=True)
            name = secrets.token_hex(8)
            job = Job(padded(wanted, pad), form, self._folder / name, remarks=list(remarks))
            self._jobs[name] = job
        self._pool.submit(_run, job)
        return name

    def job(self, name: str) -> Job:
        """Returns an export by its name. Raises NotHere."""
        job = self._jobs.get(name)
        if job is None:
            raise NotHere("This export is not here any more. Make it again.")
        return job

    def close(self) -> None:
        """Stops what is being made."""
        for job in list(self._jobs.values()):
            job.is_stopped = True
        self._pool.shutdown(wait=True, cancel_futures=True)


def read_object(body: bytes) -> dict[str, Any]:
    """Returns the object that a body holds in JSON. Raises BadInput."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadInput("What was sent is not JSON.") from error
    if not isinstance(found, dict):
        raise BadInput("What was sent is no object in JSON.")
    return found


def read_order(body: bytes) -> tuple[list[str], str, float, str]:
    """Returns the ids of moments, the form, the seconds to add at both ends, and the query. Raises BadInput."""
    order = read_object(body)
    moments, form, pad, query = (order.get(name) for name in ("moments", "form", "pad", "query"))
    if not isinstance(moments, list) or not moments or not all(isinstance(one, str) for one in moments):
        raise BadInput("No moments are chosen.")
    if len(moments) > MOST_MOMENTS:
        raise BadInput(f"Too many moments are chosen. At most {MOST_MOMENTS} can be exported at a time.")
    if form not in FORMS:
        raise BadInput(f"There is no such form of export. There are: {', '.join(FORMS)}.")
    if pad is not None and (isinstance(pad, bool) or not isinstance(pad, int | float) or not 0 <= pad <= LONGEST_PAD):
        raise BadInput(f"The seconds to add lie between 0 and {LONGEST_PAD:g}.")
    return moments, form, float(pad or 0.0), query[:200] if isinstance(query, str) else ""


def job_json(job: Job) -> dict[str, Any]:
    """Returns how far an export is."""
    state = "failed" if job.error else "done" if job.file else "running"
    error, remedy = split_remedy(job.error) if job.error else ("", "")
    return {
        "state": state,
        "done": round(job.done, 3),
        "total": round(job.total, 3),
        "name": readable(job.file.name) if job.file else "",
        "error": readable(error),
        "remedy": readable(remedy),
        "remarks": [readable(remark) for remark in job.remarks],
    }


def _run(job: Job) -> None:
    """Makes the file of an export; whatever goes wrong becomes its error."""
    try:
        made = job.folder / "made"
        made.mkdir(parents=True)
        files = _make(job, made)
        if job.is_stopped:
            raise VidfindError("The export was stopped.")
        if not files:
            raise BadInput(f"Nothing could be exported. {' '.join(job.remarks)}")
        job.file = files[0] if len(files) == 1 else _packed(files, job.folder / f"{_title(job)}.zip")
    except VidfindError as error:
        job.error = error
    except Exception as error:
        job.error = VidfindError(mistake_sentence(error))
    if job.error:
        shutil.rmtree(job.folder, ignore_errors=True)


def _make(job: Job, folder: Path) -> list[Path]:
    """Returns the files of an export, and notes on the way how far it is and what failed."""
    if job.form not in ("clips", "join"):
        events = list(make_cuts(job.wanted))
        job.remarks += [_failure(one) for one in events if isinstance(one, Failed)]
        cuts = [one for one in events if isinstance(one, Cut)]
        return write_timeline(cuts, folder / f"{_title(job)}.{job.form}") if cuts else []
    is_film = job.form == "join"
    making = join_clips(job.wanted, film_path(job.wanted, folder)) if is_film else export_clips(job.wanted, folder)
    files = []
    with closing(making):
        for event in making:
            if isinstance(event, Progress):
                job.done, job.total = event.done, event.total
            elif isinstance(event, Failed):
                job.remarks.append(_failure(event))
            else:
                files.append(event.path)
            if job.is_stopped:
                break
    return files


def _failure(failed: Failed) -> str:
    return f"{failed.wanted.path.name} {failed.reason}."


def _title(job: Job) -> str:
    """Returns the name of what is made, without an ending: the query, if all moments are of one."""
    queries = {one.query for one in job.wanted}
    return safe_name(queries.pop(), 100) if len(queries) == 1 and queries != {""} else "moments"


def _packed(files: Sequence[Path], file: Path) -> Path:
    """Moves files into one archive, without packing them closer: videos cannot be."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for one in files:
            archive.write(one, one.name)
            one.unlink()
    return file
