"""Filters decided on columns choose what a look at each row would."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.rows import make_row
from tests.support.stored import put
from vidfind.errors import BadInput
from vidfind.store.select import local_day, select_videos
from vidfind.store.store import Store

FOLDERS = ["/v", "/v/a", "/v/a b", "/v/a%20b", "/v/ab", "/v/é", "/w"]
BORDER = datetime(2024, 5, 17, tzinfo=UTC)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Videos in folders of like names, filmed around midnight of a few days, one in seven of them failed."""
    from vidfind.encoders.names import EncoderIdentity
    from vidfind.store.settings import IndexSettings

    settings = IndexSettings(EncoderIdentity("tiny", "builtin", "digest", "tempme", None, 12))
    store = Store.create(tmp_path_factory.mktemp("filters") / "default", settings, dim=4)
    rows = []
    for number in range(210):
        created = BORDER + timedelta(minutes=37 * number - 3000)
        failed = "broken" if number % 7 == 0 else ""
        path = f"{FOLDERS[number % len(FOLDERS)] if number % 11 else '/v'}/{number}.mp4"
        rows.append(make_row(path, created=created, failed=failed, content=0 if failed else 1 + number // 2))
    put(store, rows)
    return store


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
            select_videos(stored, Path(folder) if folder else None, since, until)
        return
    expected = {
        (row.path, row.content)
        for row in under
        if (since is None or local_day(row.created) >= since) and (until is None or local_day(row.created) <= until)
    }
    selected = select_videos(stored, Path(folder) if folder else None, since, until)
    assert selected.contents() == {content for _, content in expected}
    assert selected.paths_of(sorted(selected.contents())) == {path for path, _ in expected}
    one = min((content for _, content in expected), default=None)
    assert selected.paths_of([one] if one else []) == {path for path, content in expected if content == one}
