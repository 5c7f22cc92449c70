import dataclasses
import logging
import os
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from vidfind.index import presence
from vidfind.index.plan import Known, Plan, Reuse, make_plan
from vidfind.index.presence import Disk, Presence
from vidfind.store.files import StoredVideos
from vidfind.store.tables import TRY_AGAIN, VideoRow
from vidfind.system.files import VideoFile, fingerprint
from vidfind.system.mounts import Place

DAY = datetime(2024, 5, 17, tzinfo=UTC)
FOLDER = Path("/videos")


def video(name: str, size: int = 1000, mtime_ns: int = 5) -> VideoFile:
    return VideoFile(FOLDER / name, size, mtime_ns)


def row(name: str, fingerprint: str, size: int = 1000, mtime_ns: int = 5, failed: str = "") -> VideoRow:
    return VideoRow(FOLDER / name, FOLDER, size, mtime_ns, fingerprint, DAY, DAY, content=7, segments=1, failed=failed)


def presence_of(path: Path, folder: Path) -> Presence:
    """What there is to be seen of a video that was indexed on DAY."""
    return Disk().presence(VideoRow(path, folder, 1000, 5, "A", DAY, DAY), folder)


def plan_of(
    found: list[VideoFile],
    rows: list[VideoRow],
    contents: dict[str, str] | None = None,
    presence: Presence = "gone",
    folders: list[Path] | None = None,
    force: bool = False,
    is_moved: bool = False,
) -> Plan:
    """A plan where the file called `name` has the fingerprint `contents[name]`."""

    def fingerprint(path: Path) -> str:
        return (contents or {})[path.name]

    return make_plan(
        found,
        Known(StoredVideos.of(rows)),
        folders or [FOLDER],
        fingerprint,
        lambda path, folder: presence,
        force,
        is_moved=lambda row, path: is_moved,
    )


def test_a_video_never_seen_is_new() -> None:
    plan = plan_of([video("a.mp4")], [])
    assert [(job.file.path.name, job.status) for job in plan.encode] == [("a.mp4", "new")]


def test_a_video_with_the_same_size_and_date_is_unchanged() -> None:
    assert plan_of([video("a.mp4")], [row("a.mp4", "A")]) == Plan(unchanged=[(video("a.mp4"), 0)])


@pytest.mark.parametrize("file", [video("a.mp4", size=2000), video("a.mp4", mtime_ns=6)], ids=["size", "date"])
def test_a_video_of_another_size_or_date_is_changed(file: VideoFile) -> None:
    plan = plan_of([file], [row("a.mp4", "A")], {"a.mp4": "B"})
    assert [(job.file, job.status) for job in plan.encode] == [(file, "changed")]


def test_a_video_that_was_only_touched_is_not_encoded_again() -> None:
    plan = plan_of([video("a.mp4", mtime_ns=6)], [row("a.mp4", "A")], {"a.mp4": "A"})
    assert [(reuse.file.mtime_ns, reuse.status) for reuse in plan.reuse] == [(6, "unchanged")]
    assert plan.encode == []


def test_a_renamed_video_is_moved_and_not_removed() -> None:
    old = row("old.mp4", "A")
    plan = plan_of([video("new.mp4")], [old], {"new.mp4": "A"})
    assert [(reuse.status, reuse.source) for reuse in plan.reuse] == [("moved", old)]
    assert (plan.encode, plan.removed) == ([], [])


def test_a_video_moved_from_a_folder_not_asked_for_is_moved() -> None:
    old = row("old.mp4", "A")
    file = VideoFile(Path("/elsewhere/new.mp4"), 1000, 5)
    plan = plan_of([file], [old], {"new.mp4": "A"}, folders=[Path("/elsewhere")])
    assert [(reuse.status, reuse.source) for reuse in plan.reuse] == [("moved", old)]


def test_a_drive_under_a_new_letter_is_moved() -> None:
    old = row("a.mp4", "A")
    file = VideoFile(Path("/media/usb2/a.mp4"), 1000, 5)
    plan = plan_of([file], [old], {"a.mp4": "A"}, presence="offline", folders=[Path("/media/usb2")], is_moved=True)
    assert [reuse.status for reuse in plan.reuse] == ["moved"]


def test_a_backup_made_while_the_original_is_away_is_a_copy() -> None:
    old = row("a.mp4", "A")
    file = VideoFile(Path("/media/usb2/a.mp4"), 1000, 5)
    plan = plan_of([file], [old], {"a.mp4": "A"}, presence="offline", folders=[Path("/media/usb2")])
    assert plan.reuse == [Reuse(file, "new", old, is_source_away=True)]


def test_a_copy_of_an_indexed_video_is_not_encoded_and_the_original_stays() -> None:
    original = row("a.mp4", "A")
    plan = plan_of([video("a.mp4"), video("b.mp4")], [original], {"b.mp4": "A"})
    assert plan.unchanged == [(video("a.mp4"), 0)]
    assert [(reuse.status, reuse.source) for reuse in plan.reuse] == [("new", original)]


def test_one_missing_video_is_moved_once_and_its_second_copy_is_new() -> None:
    plan = plan_of([video("b.mp4"), video("c.mp4")], [row("a.mp4", "A")], {"b.mp4": "A", "c.mp4": "A"})
    assert [reuse.status for reuse in plan.reuse] == ["moved", "new"]


def test_of_two_copies_the_one_that_is_gone_was_moved_and_not_the_one_on_a_drive_elsewhere() -> None:
    away = VideoRow(Path("/usb/a.mp4"), Path("/usb"), 1000, 5, "A", DAY, DAY, content=7)
    gone = row("b.mp4", "A")

    def presence(row: VideoRow, folder: Path) -> Presence:
        return "offline" if folder == Path("/usb") else "gone"

    for rows in ([away, gone], [gone, away]):
        plan = make_plan([video("c.mp4")], Known(StoredVideos.of(rows)), [FOLDER], lambda path: "A", presence)
        assert [(reuse.status, reuse.source) for reuse in plan.reuse] == [("moved", gone)]
        assert (plan.removed, plan.encode) == ([], [])


def test_thousands_of_copies_that_moved_are_planned_in_a_moment() -> None:
    rows = [row(f"{i}.mp4", "A") for i in range(5000)]
    files = [video(f"moved-{i}.mp4") for i in range(5000)]
    start = time.process_time()
    plan = plan_of(files, rows, {file.path.name: "A" for file in files})
    assert len({reuse.source.path for reuse in plan.reuse if reuse.status == "moved"}) == 5000
    assert time.process_time() - start < 5


def test_a_mount_point_within_the_folder_indexed_keeps_its_videos_when_asked_for_by_itself(tmp_path: Path) -> None:
    (tmp_path / "other.mp4").touch()
    (tmp_path / "nas").mkdir()
    path = tmp_path / "nas" / "a.mp4"
    away = VideoRow(path, tmp_path, 1000, 5, "A", DAY, DAY)
    plan = make_plan([], Known(StoredVideos.of([away])), [tmp_path / "nas"], fingerprint, Disk().presence)
    assert plan == Plan(offline=[(away, tmp_path / "nas")])


def test_what_seems_unchanged_is_compared_when_asked() -> None:
    rows = [row("a.mp4", "A"), row("b.mp4", "B"), row("c.mp4", "", failed="it is empty")]
    files = [video("a.mp4"), video("b.mp4"), video("c.mp4")]
    stored = StoredVideos.of(rows)
    contents = {"a.mp4": "A", "b.mp4": "X"}  # a fingerprint of c would be a KeyError
    plan = make_plan(files, Known(stored), [FOLDER], lambda path: contents[path.name], lambda *_: "there", verify=True)
    assert [(job.file.path.name, job.status) for job in plan.encode] == [("b.mp4", "changed")]
    assert (plan.unchanged, plan.failed) == ([(files[0], 0)], rows[2:])


def test_what_cannot_be_compared_is_told_and_stays(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    stored = StoredVideos.of([row("a.mp4", "A")])
    logging.getLogger("vidfind").addHandler(caplog.handler)
    try:
        plan = make_plan([video("a.mp4")], Known(stored), [FOLDER], refuse, lambda *_: "there", verify=True)
    finally:
        logging.getLogger("vidfind").removeHandler(caplog.handler)
    assert plan == Plan(unchanged=[(video("a.mp4"), 0)])
    assert "Cannot compare /videos/a.mp4 with the index: Permission denied" in caplog.text


def test_of_two_equal_new_videos_one_is_encoded() -> None:
    plan = plan_of([video("a.mp4"), video("b.mp4")], [], {"a.mp4": "A", "b.mp4": "A"})
    assert [job.file.path.name for job in plan.encode] == ["a.mp4"]
    assert [(job.file.path.name, first.name) for job, first in plan.duplicates] == [("b.mp4", "a.mp4")]


def test_names_passed_along_a_row_of_videos_encode_nothing() -> None:
    rows = [row("a.mp4", "A", 1), row("b.mp4", "B", 2)]
    plan = plan_of([video("b.mp4", 1), video("c.mp4", 2)], rows, {"b.mp4": "A", "c.mp4": "B"})
    assert {(reuse.file.path.name, reuse.source.path.name) for reuse in plan.reuse} == {
        ("b.mp4", "a.mp4"),
        ("c.mp4", "b.mp4"),
    }
    assert (plan.encode, plan.removed) == ([], [])


def test_a_missing_video_is_removed_while_its_folder_is_there() -> None:
    gone = row("a.mp4", "A")
    assert plan_of([], [gone]) == Plan(removed=[(gone, "")])


def test_a_missing_video_is_kept_while_its_folder_is_not_there() -> None:
    away = row("a.mp4", "A")
    assert plan_of([], [away], presence="offline") == Plan(offline=[(away, FOLDER)])


def test_a_video_that_is_there_but_excluded_is_removed_with_the_reason() -> None:
    excluded = row("a.mp4", "A")
    [(removed, reason)] = plan_of([], [excluded], presence="there").removed
    assert removed == excluded
    assert reason


def test_videos_outside_the_folders_asked_for_are_left_alone() -> None:
    assert plan_of([], [row("a.mp4", "A")], folders=[Path("/videos/inner"), Path("/vid")]) == Plan()


def test_a_video_that_failed_is_tried_again_only_when_it_changes() -> None:
    failed = row("a.mp4", "", failed="it is empty")
    assert plan_of([video("a.mp4")], [failed]) == Plan(failed=[failed])
    assert len(plan_of([video("a.mp4", mtime_ns=6)], [failed], {"a.mp4": "A"}).encode) == 1


def test_a_video_that_failed_for_the_disk_is_tried_again_on_every_run() -> None:
    failed = row("a.mp4", "", mtime_ns=TRY_AGAIN, failed="cannot be read: Input/output error")
    for mtime_ns in (5, TRY_AGAIN):  # whatever the file's own time
        plan = plan_of([video("a.mp4", mtime_ns=mtime_ns)], [failed], {"a.mp4": "A"})
        assert [job.status for job in plan.encode] == ["changed"]


def test_an_ignored_video_stays_and_its_contents_are_known() -> None:
    known = Known(StoredVideos.of([row("a.mp4", "A")]), ignored=[0])
    plan = make_plan([video("b.mp4")], known, [FOLDER], lambda path: "A", lambda *_: "gone")
    assert [(reuse.file.path.name, reuse.status) for reuse in plan.reuse] == [("b.mp4", "new")]
    assert plan.removed == []


def test_a_video_whose_fingerprint_cannot_be_read_goes_to_the_encoder(tmp_path: Path) -> None:
    file = VideoFile(tmp_path / "vanished.mp4", 1000, 6)
    stored = StoredVideos.of([VideoRow(file.path, tmp_path, 1000, 5, "A", DAY, DAY)])
    assert len(make_plan([file], Known(stored), [tmp_path], fingerprint, Disk().presence).encode) == 1


def test_force_encodes_everything_but_still_removes_what_is_gone() -> None:
    rows = [row("a.mp4", "A"), row("b.mp4", "", failed="it is empty"), row("c.mp4", "C")]
    plan = plan_of([video("a.mp4"), video("b.mp4")], rows, force=True)
    assert [job.status for job in plan.encode] == ["changed", "changed"]
    assert [removed.path.name for removed, _ in plan.removed] == ["c.mp4"]


def test_no_fingerprint_is_taken_where_sizes_tell_videos_apart() -> None:
    files = [video(f"{i}.mp4", size=i) for i in range(100)]  # a fingerprint would be a KeyError
    assert len(plan_of(files, [row("other.mp4", "A", size=1000)]).encode) == 100


def test_ten_thousand_unchanged_videos_are_planned_in_a_moment() -> None:
    files = [video(f"{i}.mp4") for i in range(10_000)]
    rows = [row(f"{i}.mp4", str(i)) for i in range(10_000)]
    start = time.process_time()
    assert len(plan_of(files, rows).unchanged) == 10_000
    assert time.process_time() - start < 2


def test_a_file_deleted_from_a_folder_is_gone(tmp_path: Path) -> None:
    (tmp_path / "other.mp4").touch()
    assert presence_of(tmp_path / "a.mp4", tmp_path) == "gone"
    assert presence_of(tmp_path / "inner" / "a.mp4", tmp_path) == "gone"
    assert presence_of(tmp_path / "other.mp4", tmp_path) == "there"


def test_a_name_that_only_answers_where_case_makes_no_difference_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Trip").mkdir()
    (tmp_path / "Trip" / "B.mp4").touch()
    stat = Path.stat

    def stat_any_case(path: Path, **options: bool) -> os.stat_result:  # as on macOS, Windows and memory cards
        spelled = {name.lower(): name for folder in (tmp_path, tmp_path / "Trip") for name in os.listdir(folder)}
        inside = [spelled.get(part.lower(), part) for part in path.relative_to(tmp_path).parts]
        return stat(tmp_path.joinpath(*inside), **options)

    monkeypatch.setattr(Path, "stat", stat_any_case)
    assert presence_of(tmp_path / "Trip" / "B.mp4", tmp_path) == "there"
    assert presence_of(tmp_path / "Trip" / "b.mp4", tmp_path) == "gone"
    assert presence_of(tmp_path / "trip" / "B.mp4", tmp_path) == "gone"


def test_a_file_of_a_folder_missing_or_empty_is_offline(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "unmounted"):
        assert presence_of(folder / "a.mp4", folder) == "offline"


def test_a_file_of_a_share_that_does_not_answer_is_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.mp4").touch()
    answers, scandir = threading.Event(), os.scandir

    def hang(path: Path) -> Any:
        return answers.wait() and scandir(path)

    monkeypatch.setattr(presence, "PATIENCE", 0.1)
    monkeypatch.setattr(os, "scandir", hang)
    try:
        assert presence_of(tmp_path / "a.mp4", tmp_path) == "offline"
    finally:
        answers.set()


def test_a_folder_emptied_since_has_lost_its_files_and_one_that_has_not_changed_waits_for_its_drive(
    tmp_path: Path,
) -> None:
    (tmp_path / "nas").mkdir()
    (tmp_path / "other.mp4").touch()
    for path in (tmp_path / "nas" / "a.mp4", tmp_path / "nas" / "inner" / "a.mp4"):
        os.utime(tmp_path / "nas", (DAY.timestamp() + 1, DAY.timestamp() + 1))
        assert presence_of(path, tmp_path) == "gone"
        os.utime(tmp_path / "nas", (DAY.timestamp() - 1, DAY.timestamp() - 1))
        assert presence_of(path, tmp_path) == "offline"


@pytest.mark.parametrize(
    ("before", "now", "presence"),
    [
        pytest.param("usb", ["/"], "offline", id="unplugged"),
        pytest.param("usb", ["/", "usb"], "gone", id="deleted on a drive"),
        pytest.param("usb/inner", ["/", "usb"], "offline", id="a mount within a mount"),
        pytest.param("/", ["/", "usb"], "gone", id="deleted before a drive was mounted"),
        pytest.param("usb", ["/", "other"], "offline", id="another drive elsewhere"),
        pytest.param("", ["/"], "gone", id="not known"),
    ],
)
@pytest.mark.parametrize("is_there", [False, True], ids=["mount point gone", "mount point with a file"])
def test_a_video_of_a_drive_that_is_not_mounted_is_offline(
    tmp_path: Path, before: str, now: list[str], presence: Presence, is_there: bool
) -> None:
    (tmp_path / "other.mp4").touch()
    if is_there:
        (tmp_path / "usb").mkdir()
        (tmp_path / "usb" / "not mounted").touch()
    path = tmp_path / "usb" / "inner" / "a.mp4"
    place = Place(tmp_path / before) if before else Place()
    row = VideoRow(path, tmp_path, 1000, 5, "A", DAY, DAY, place=place)
    assert Disk({tmp_path / name: "" for name in now}).presence(row, tmp_path) == presence


def test_a_video_of_a_drive_whose_place_another_has_taken_is_offline(tmp_path: Path) -> None:
    (tmp_path / "other.mp4").touch()
    row = VideoRow(tmp_path / "a.mp4", tmp_path, 1000, 5, "A", DAY, DAY)
    for volume, seen_as in (("nas:/one", "gone"), ("nas:/two", "offline"), ("", "gone")):
        placed = dataclasses.replace(row, place=Place(tmp_path, volume))
        assert Disk({tmp_path: "nas:/one"}).presence(placed, tmp_path) == seen_as


def test_a_file_behind_a_link_that_leads_nowhere_is_offline(tmp_path: Path) -> None:
    (tmp_path / "drive").symlink_to(tmp_path / "unmounted")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "unmounted" / "a.mp4")
    assert presence_of(tmp_path / "drive" / "a.mp4", tmp_path) == "offline"
    assert presence_of(tmp_path / "link.mp4", tmp_path) == "offline"


def test_a_single_file_indexed_by_name_can_be_gone(tmp_path: Path) -> None:
    (tmp_path / "other.mp4").touch()
    file = tmp_path / "a.mp4"
    assert presence_of(file, file) == "gone"
