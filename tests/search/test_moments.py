import itertools
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime
from datetime import time as datetime_time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.ran import NewPlace
from tests.support.rows import make_row
from tests.support.stored import put
from vidfind.encoders.names import EncoderIdentity
from vidfind.errors import BadInput
from vidfind.search.moments import Asked, search_moments
from vidfind.search.question.filters import Filters
from vidfind.search.spans import merge_hits
from vidfind.store.nearest import Hit
from vidfind.store.settings import IndexSettings
from vidfind.store.store import Embedded, Store
from vidfind.store.tables import VideoRow, new_content

QUERY = np.eye(16, dtype=np.float32)[0]
DAY = datetime(2024, 5, 17, 12, tzinfo=UTC)


def add_video(
    store: Store,
    path: str,
    scores: Sequence[float],
    created: datetime = DAY,
    content: int | None = None,
    folder: str = "/v",
    damage: str = "",
    fingerprint: str = "",
    created_from: str = "metadata",
) -> VideoRow:
    """Stores a video of ten-second segments that have these cosines with QUERY."""
    other = np.eye(16, dtype=np.float32)[1]
    vectors = np.stack([score * QUERY + np.sqrt(1 - score**2) * other for score in scores])
    spans = [(10.0 * i, 10.0 * i + 10) for i in range(len(scores))]
    number = content or new_content()
    duration = 10.0 * len(scores)
    row = make_row(
        path,
        len(scores),
        folder=Path(folder),
        fingerprint=fingerprint or path,
        created=created,
        created_from=created_from,
        content=number,
        duration=duration,
        damage=damage,
    )
    put(store, [row], [] if content else [Embedded(number, spans, vectors)])
    return row


def found(store: Store, limit: int = 10, **filters: Any) -> list[tuple[str, float, float]]:
    moments = search_moments(store, QUERY, Filters(**filters), limit)
    assert [moment.rank for moment in moments] == list(range(1, len(moments) + 1))
    return [(moment.path.name, moment.start, moment.end) for moment in moments]


def test_the_best_moment_of_each_video_is_found_best_first(store: Store) -> None:
    add_video(store, "/v/a.mp4", [0.1, 0.5, 0.2])
    add_video(store, "/v/b.mp4", [0.7, 0.1, 0.6])
    assert found(store) == [("b.mp4", 0, 10), ("a.mp4", 10, 20)]
    best = search_moments(store, QUERY)[0]
    assert best.score == pytest.approx(0.7, abs=2e-3)
    assert (best.duration, best.created) == (30.0, DAY)


def test_more_moments_of_a_video_are_found_when_asked(store: Store) -> None:
    add_video(store, "/v/b.mp4", [0.7, 0.1, 0.6])
    add_video(store, "/v/a.mp4", [0.65])
    assert found(store, per_video=2) == [("b.mp4", 0, 10), ("a.mp4", 0, 10), ("b.mp4", 20, 30)]
    assert found(store, per_video=2, limit=2) == [("b.mp4", 0, 10), ("a.mp4", 0, 10)]


def test_neighbours_that_score_alike_are_one_moment(store: Store) -> None:
    add_video(store, "/v/a.mp4", [0.1, 0.695, 0.7, 0.69, 0.1, 0.699])
    assert found(store, per_video=2) == [("a.mp4", 10, 40), ("a.mp4", 50, 60)]


def test_what_belongs_to_a_moment_does_not_depend_on_other_videos(store: Store) -> None:
    add_video(store, "/v/a.mp4", [0.9, 0.885])
    add_video(store, "/v/b.mp4", [0.895] * 100)
    assert found(store, limit=1) == [("a.mp4", 0, 20)]


def test_one_long_video_does_not_crowd_out_the_others(store: Store) -> None:
    add_video(store, "/v/long.mp4", [0.9] * 2000)
    for i in range(5):
        add_video(store, f"/v/{i}.mp4", [0.5 - i / 100])
    assert [name for name, _, _ in found(store, limit=4)] == ["long.mp4", "0.mp4", "1.mp4", "2.mp4"]


@pytest.mark.parametrize("step", [10.0, 5.0], ids=["side by side", "overlapping"])
def test_a_moment_of_an_endless_shot_has_an_end(step: float) -> None:
    hits = [Hit(1, step * i, step * i + 10, 0.5) for i in range(100)]
    [(_, start, end, _)] = merge_hits(hits, 1)
    assert end - start == 60


def test_moments_of_one_video_do_not_overlap() -> None:
    scores = np.random.default_rng(0).uniform(0.4, 0.5, 50)
    hits = [Hit(1, 10.0 * i, 10.0 * i + 10, score) for i, score in enumerate(scores)]
    moments = merge_hits(hits, 50)
    spans = sorted((start, end) for _, start, end, _ in moments)
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))
    assert sum(end - start for start, end in spans) == 500
    assert [score for score, *_ in moments] == sorted((score for score, *_ in moments), reverse=True)


def test_what_two_overlapping_segments_see_is_one_moment() -> None:
    def best(*scores: float) -> list[tuple[float, float]]:
        hits = [Hit(1, 5.0 * i, 5.0 * i + 10, score) for i, score in enumerate(scores)]
        return [(start, end) for _, start, end, _ in merge_hits(hits, 2)]

    assert best(0.1, 0.2, 0.5, 0.4, 0.1, 0.3) == [(10, 20), (25, 35)]
    assert best(0.1, 0.2, 0.5, 0.49, 0.1, 0.3) == [(10, 25), (25, 35)]
    scores = np.random.default_rng(0).uniform(0.4, 0.5, 50)
    moments = merge_hits([Hit(1, 5.0 * i, 5.0 * i + 10, score) for i, score in enumerate(scores)], 50)
    spans = sorted((start, end) for _, start, end, _ in moments)
    assert len(spans) > 5 and all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))


def test_both_segments_that_contain_the_moment_asked_for_are_no_answer() -> None:
    asked = Asked(frozenset({1}), 13, 10)
    spans = [(5.0 * i, 5.0 * i + 10) for i in range(6)]
    assert [start for start, end in spans if not asked.holds(Hit(1, start, end, 0.5))] == [0, 15, 20, 25]


def test_copies_are_one_result_that_names_the_others(store: Store, tmp_path: Path) -> None:
    original = add_video(store, "/v/a.mp4", [0.5, 0.1, 0.4])
    for name in ("/v/b.mp4", f"{tmp_path}/there.mp4"):
        add_video(store, name, [0.5, 0.1, 0.4], content=original.content, folder=str(Path(name).parent))
    apart = add_video(store, "/w/encoded apart.mp4", [0.49, 0.1, 0.4], fingerprint=original.fingerprint)
    add_video(store, "/v/other.mp4", [0.3])
    (tmp_path / "there.mp4").touch()
    first, second, other = search_moments(store, QUERY, Filters(per_video=2), limit=3)
    for moment in (first, second):
        assert moment.path == tmp_path / "there.mp4"  # the others are away
        assert moment.copies == (Path("/v/a.mp4"), Path("/v/b.mp4"), apart.path)
    assert (first.start, second.start, other.path.name, other.copies) == (0, 20, "other.mp4", ())
    assert [moment.path.name for moment in search_moments(store, QUERY, limit=2)] == ["there.mp4", "other.mp4"]
    assert search_moments(store, QUERY, Filters(folder="/v"), limit=1)[0].copies == (Path("/v/b.mp4"),)
    assert search_moments(store, QUERY, Filters(online=True), limit=1)[0].copies == ()


def test_each_copy_is_a_result_when_asked(store: Store) -> None:
    original = add_video(store, "/v/a.mp4", [0.5])
    add_video(store, "/v/copy.mp4", [0.5], content=original.content)
    moments = search_moments(store, QUERY, Filters(copies=True))
    assert [(moment.rank, moment.path.name, moment.copies) for moment in moments] == [
        (1, "a.mp4", ()),
        (2, "copy.mp4", ()),
    ]


def test_what_is_asked_for_is_left_out_with_its_copies(store: Store) -> None:
    video = add_video(store, "/v/a.mp4", [0.5, 0.51, 0.9, 0.51, 0.5])
    add_video(store, "/v/copy.mp4", [0.5, 0.51, 0.9, 0.51, 0.5], content=video.content)
    add_video(store, "/v/b.mp4", [0.4])

    def besides(time: float | None) -> list[tuple[str, float, float]]:
        moments = search_moments(store, QUERY, asked=[Asked(frozenset({video.content}), time, 10)])
        return [(moment.path.name, moment.start, moment.end) for moment in moments]

    assert besides(24) == [("a.mp4", 0, 20), ("b.mp4", 0, 10)]  # and its neighbours are not joined over it
    assert besides(30) == [("a.mp4", 0, 20), ("b.mp4", 0, 10)]
    assert besides(44) == [("a.mp4", 20, 30), ("b.mp4", 0, 10)]
    assert besides(None) == [("b.mp4", 0, 10)]


def test_vectors_of_a_run_that_was_killed_are_not_found(store: Store) -> None:
    add_video(store, "/v/a.mp4", [0.5])
    put(store, [], [Embedded(new_content(), [(0.0, 10.0)] * 300, np.tile(QUERY, (300, 1)))])
    assert [name for name, _, _ in found(store)] == ["a.mp4"]


@pytest.mark.parametrize(
    ("places", "names"),
    [
        ("{tmp}/real", "a c"),
        ("{tmp}/link", "a c"),
        ("{tmp}/real/", "a c"),
        ("{tmp}/real/a.mp4", "a"),
        (["{tmp}/really", "{tmp}/real/[1] in"], "b c"),
        ("{tmp}/real*", "a b c"),
        ("{tmp}/*/*.mp4", "a b"),
        ("{tmp}/**/c.mp4", "c"),
        ("{tmp}/link/[[]1] i?", "c"),
        ("{tmp}", "a b c"),
    ],
)
def test_only_videos_of_a_place_are_found_when_asked(
    places: str | list[str], names: str, in_folders: Store, folders: Path
) -> None:
    written = [place.format(tmp=folders) for place in ([places] if isinstance(places, str) else places)]
    assert " ".join(sorted(name[0] for name, _, _ in found(in_folders, folder=written))) == names
    if len(written) == 1:
        assert found(in_folders, folder=Path(written[0])) == found(in_folders, folder=written)


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (["{tmp}/real"], "b"),
        (["{tmp}/link/"], "b"),
        (["real"], "b"),
        (["rea*"], ""),
        (["[1] in"], "a b"),
        (["*/c.mp4"], "a b c"),
        (["real/*/c.mp4"], "a b"),
        (["?.mp4"], ""),
        (["a.mp4", "b.mp4"], "c"),
        (["nothing"], "a b c"),
    ],
)
def test_videos_of_excluded_places_and_names_are_left_out(
    patterns: list[str], names: str, in_folders: Store, folders: Path
) -> None:
    exclude = [pattern.format(tmp=folders) for pattern in patterns]
    assert " ".join(sorted(name[0] for name, _, _ in found(in_folders, exclude=exclude))) == names


def test_a_place_without_videos_is_named(in_folders: Store) -> None:
    with pytest.raises(BadInput, match="No indexed video is under /empty"):
        search_moments(in_folders, QUERY, Filters(folder=["/", "/empty"]))
    with pytest.raises(BadInput, match=r"No indexed video is under /e\*"):
        search_moments(in_folders, QUERY, Filters(folder="/e*"))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a folder in it, and a link to that."""
    tmp = tmp_path_factory.mktemp("folders")
    (tmp / "real").mkdir()
    (tmp / "link").symlink_to(tmp / "real")
    return tmp


@pytest.fixture(scope="module")
def in_folders(new_place: NewPlace, folders: Path) -> Store:
    """Three videos in folders with names that are alike; one folder has a link."""
    settings = IndexSettings(EncoderIdentity("tiny", "builtin", "digest", "tempme", None, 12))
    store = Store.create(new_place(folders), settings, dim=16)
    for path in ("real/a.mp4", "really/b.mp4", "real/[1] in/c.mp4"):
        add_video(store, f"{folders}/{path}", [0.5], folder=str(folders))
    return store


def test_dates_include_their_first_and_last_day(store: Store) -> None:
    for day in (16, 17, 18):
        add_video(store, f"/v/{day}.mp4", [0.5], datetime(2024, 5, day, 12).astimezone())
    assert [name for name, _, _ in found(store, since=date(2024, 5, 17))] == ["17.mp4", "18.mp4"]
    assert [name for name, _, _ in found(store, until=date(2024, 5, 17))] == ["16.mp4", "17.mp4"]
    assert found(store, since=date(2024, 5, 19)) == []


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="time zones cannot be set there")
@pytest.mark.parametrize(
    ("few", "chosen", "asked"),
    [
        (1000, 2, [True]),  # a quarter of all
        (1000, 3, [False, True]),
        (1, 2, [False, True]),
        (1, 1, [True]),
    ],
)
def test_few_videos_are_compared_each_and_many_are_looked_for_among_all_first(
    store: Store, monkeypatch: pytest.MonkeyPatch, few: int, chosen: int, asked: list[bool]
) -> None:
    """The answer is the same, also where those chosen are worse than all others, and not found among all at first."""
    for number in range(8):
        day = DAY if number < 8 - chosen else DAY.replace(2025)
        add_video(store, f"/v/{number}.mp4", [0.9 - 0.1 * number], day)
    monkeypatch.setattr("vidfind.search.moments.FEW_VIDEOS", few)
    monkeypatch.setattr("vidfind.search.moments.HITS_A_VIDEO", 1)
    search = store.search
    is_limited: list[bool] = []

    def note(vector: Any, count: int, contents: Any = None) -> list[Hit]:
        is_limited.append(contents is not None)
        return search(vector, count, contents)

    object.__setattr__(store, "search", note)
    assert found(store, 1, since=date(2025, 1, 1)) == [(f"{8 - chosen}.mp4", 0, 10)]
    assert is_limited == [*asked, True]  # the last look is at all segments of the video found


def test_dates_at_both_ends_of_the_calendar_are_found_anywhere(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    add_video(store, "/v/first.mp4", [0.5], datetime(1, 1, 1, tzinfo=UTC))
    add_video(store, "/v/last.mp4", [0.4], datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
    with monkeypatch.context() as patch:
        for zone in ("XXX-12", "XXX+12"):
            patch.setenv("TZ", zone)
            time.tzset()
            assert [name for name, _, _ in found(store, since=date(1, 1, 1))] == ["first.mp4", "last.mp4"]
    time.tzset()


def test_only_moments_of_a_time_of_day_are_found_when_asked(store: Store) -> None:
    night = datetime(2024, 5, 16, 21, 59, 45).astimezone()
    add_video(store, "/v/a.mp4", [0.9, 0.1, 0.5, 0.1], night)
    add_video(store, "/v/changed last.mp4", [0.8] * 2, night, created_from="file")  # when it ended
    add_video(store, "/v/by day.mp4", [0.7], datetime(2024, 5, 16, 12).astimezone())
    ten, five = datetime_time(22), datetime_time(5)
    over_midnight = (ten, five)
    assert found(store, between=over_midnight) == [("a.mp4", 20, 30)]
    assert found(store, between=over_midnight, per_video=5) == [("a.mp4", 20, 30), ("a.mp4", 10, 20), ("a.mp4", 30, 40)]
    assert [name for name, _, _ in found(store, between=(five, ten))] == [
        "a.mp4",
        "changed last.mp4",
        "by day.mp4",
    ]
    assert found(store, between=over_midnight, since=date(2024, 5, 17)) == []


def test_moments_below_the_least_score_are_left_out(store: Store) -> None:
    add_video(store, "/v/a.mp4", [0.5, 0.1, 0.3])
    add_video(store, "/v/b.mp4", [0.2])
    assert found(store, min_score=0.25, per_video=3) == [("a.mp4", 0, 10), ("a.mp4", 20, 30)]


def test_each_moment_says_whether_its_file_is_there(store: Store, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    for folder in (tmp_path, tmp_path / "a.mp4"):  # indexed with its folder, or by name
        add_video(store, f"{tmp_path}/a.mp4", [0.5], folder=str(folder))
        add_video(store, "/v/b.mp4", [0.4])
        assert [(moment.path.name, moment.online) for moment in search_moments(store, QUERY)] == [
            ("a.mp4", True),
            ("b.mp4", False),
        ]


def test_moments_online_fill_up_to_the_limit(store: Store, tmp_path: Path) -> None:
    for number in range(20):
        add_video(store, f"/unmounted/{number}.mp4", [0.9], folder="/unmounted")
        add_video(store, f"{tmp_path}/deleted/{number}.mp4", [0.8], folder=str(tmp_path))
    for number in range(5):
        (tmp_path / f"{number}.mp4").touch()
        add_video(store, f"{tmp_path}/{number}.mp4", [0.7 - number / 100], folder=str(tmp_path))
    (tmp_path / "alone.mp4").touch()
    add_video(store, f"{tmp_path}/alone.mp4", [0.6], folder=f"{tmp_path}/alone.mp4")
    names = ["0.mp4", "1.mp4", "2.mp4", "3.mp4", "4.mp4", "alone.mp4"]
    assert [name for name, _, _ in found(store, limit=3, online=True)] == names[:3]
    assert [name for name, _, _ in found(store, limit=10, online=True)] == names
    assert [moment.online for moment in search_moments(store, QUERY, limit=10)] == [False] * 10


def test_the_damage_of_a_video_is_told_with_its_moments(store: Store) -> None:
    add_video(store, "/v/a.mp4", [0.5], damage="ends early: 0:28 of 0:35 is there")
    add_video(store, "/v/b.mp4", [0.4])
    assert [moment.damage for moment in search_moments(store, QUERY)] == ["ends early: 0:28 of 0:35 is there", ""]


def test_an_index_without_videos_finds_nothing(store: Store) -> None:
    assert found(store) == []
