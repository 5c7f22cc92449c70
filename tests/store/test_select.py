"""Filters decided on columns choose what a look at each row would."""

from __future__ import annotations

import re
import shutil
import time
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.drawn import drawn
from tests.support.ran import NewPlace
from tests.support.rows import make_row
from tests.support.stored import put
from vidfind.display.search import result_table
from vidfind.errors import BadInput
from vidfind.search.moments import Moment
from vidfind.store.select import select_videos
from vidfind.store.store import Store
from vidfind.system.times import local_time

FOLDERS = ["/v", "/v/a", "/v/a b", "/v/a%20b", "/v/ab", "/v/é", "/w"]
BORDER = datetime(2024, 5, 17, tzinfo=UTC)


@pytest.fixture(scope="module")
def stored(new_place: NewPlace, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Videos in folders of like names, filmed around midnight of a few days, one in seven of them failed."""
    from vidfind.encoders.names import EncoderIdentity
    from vidfind.store.settings import IndexSettings

    settings = IndexSettings(EncoderIdentity("tiny", "builtin", "digest", "tempme", None, 12))
    store = Store.create(new_place(tmp_path_factory.mktemp("filters")), settings, dim=4)
    rows = []
    for number in range(210):
        created = BORDER + timedelta(minutes=37 * number - 3000)
        failed = "broken" if number % 7 == 0 else ""
        path = f"{FOLDERS[number % len(FOLDERS)] if number % 11 else '/v'}/{number}.mp4"
        rows.append(make_row(path, created=created, failed=failed, content=0 if failed else 1 + number // 2))
    put(store, rows)
    return store


def test_where_no_video_is_in_a_place_the_command_that_shows_all_names_the_index(tmp_path: Path, store: Store) -> None:
    named = Store.create(tmp_path / "films", store.settings, dim=16)
    put(named, [make_row("/v/a.mp4")])
    with pytest.raises(BadInput, match=r"vidfind status --index films"):
        select_videos(named, ["/none"])


days = st.none() | st.integers(-4, 6).map(lambda day: date(2024, 5, 17) + timedelta(day))


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.none() | st.sampled_from([*FOLDERS, "/", "/v/1.mp4", "/none"]), days, days)
def test_the_videos_chosen_are_those_that_a_look_at_each_row_gives(
    stored: Store, folder: str | None, since: date | None, until: date | None
) -> None:
    rows = [row for row in stored.videos().values() if not row.failed]
    under = [row for row in rows if folder is None or row.path.is_relative_to(folder)]
    if not under:
        with pytest.raises(BadInput):
            select_videos(stored, [folder] if folder else [], since, until)
        return
    expected = {
        (row.path, row.content)
        for row in under
        if (since is None or local_time(row.created).date() >= since)
        and (until is None or local_time(row.created).date() <= until)
    }
    selected = select_videos(stored, [folder] if folder else [], since, until)
    assert selected.contents() == {content for _, content in expected}
    assert selected.contents_among([*selected.contents(), 0]) == selected.contents()
    assert selected.contents_among([0]) == selected.contents_among([]) == set()
    assert [selected.has_more_contents(count) for count in (0, len(selected.contents()))] == [bool(expected), False]
    assert selected.paths_of(sorted(selected.contents())) == {path for path, _ in expected}
    one = min((content for _, content in expected), default=None)
    assert selected.paths_of([one] if one else []) == {path for path, content in expected if content == one}


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="time zones cannot be set there")
@pytest.mark.parametrize(
    ("typed", "meant"),
    [("/v/a bb", "/v/a b"), ("/v/a%20bc/7.mp4", "/v/a%20b"), ("/v/a/8.mp5", "/v/a/8.mp4"), ("/x/a%20bb", "/v/a%20b")],
)
def test_a_mistyped_place_is_told_with_the_nearest(stored: Store, typed: str, meant: str) -> None:
    with pytest.raises(BadInput, match=re.escape(f"No indexed video is under {typed}. Did you mean {meant}? See")):
        select_videos(stored, [typed])
    with pytest.raises(BadInput, match=r"No indexed video is under /quite/other\. See"):
        select_videos(stored, ["/quite/other"])


def test_the_day_shown_is_the_day_that_the_filter_takes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also around midnight of the days on which clocks are changed."""
    changes = [datetime(2024, 4, 6, tzinfo=UTC), datetime(2024, 9, 28, tzinfo=UTC), datetime(2024, 11, 3, tzinfo=UTC)]
    times = [day + timedelta(minutes=97 * number) for day in changes for number in range(20)]
    rows = [make_row(f"/v/{number}.mp4", created=created) for number, created in enumerate(times)]
    moments = [Moment(1, 0.5, row.path, 0, 10, row.duration, row.created) for row in rows]
    put(store, rows)
    for zone in ["UTC", "XYZ-10", "XYZ+5", "Pacific/Auckland", "America/New_York"]:
        with monkeypatch.context() as patch:
            patch.setenv("TZ", zone)
            time.tzset()
            shown: dict[str, set[int]] = defaultdict(set)
            for row, line in zip(rows, drawn(result_table(moments, 100), 100)[2:], strict=True):
                shown[line.split()[-1]].add(row.content)
            for text, contents in shown.items():
                day = date.fromisoformat(text)
                assert select_videos(store, since=day, until=day).contents() == contents
    time.tzset()


def test_an_index_without_the_sources_of_its_dates_can_be_asked_for_a_time_of_day(store: Store) -> None:
    row = make_row("/v/a.mp4", created=datetime(2024, 5, 17, 12).astimezone())
    put(store, [row])
    store.tables.videos.drop_columns(["created_from"])
    assert select_videos(store, between=(clock_time(11), clock_time(13))).contents() == {row.content}
    assert select_videos(store, between=(clock_time(13), clock_time(11))).contents() == set()


def test_videos_selected_before_are_selected_anew_after_a_commit_and_when_folders_come_and_go(
    store: Store, tmp_path: Path
) -> None:
    folder = tmp_path / "there"
    expected = []
    for number in (1, 2):
        put(store, [make_row(f"{folder}/{number}.mp4", folder=folder)])
        expected.append(folder / f"{number}.mp4")
        assert select_videos(store, since=date(2000, 1, 1)).paths() == expected
        for is_there in (False, True):
            if is_there:  # an empty folder counts as missing
                (folder / "something").mkdir(parents=True)
            elif folder.exists():
                shutil.rmtree(folder)
            assert select_videos(store, since=date(2000, 1, 1), online=True).paths() == (expected if is_there else [])
