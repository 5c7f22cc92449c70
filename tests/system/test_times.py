import pytest

from vidfind.system.times import parse_time


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("83", 83),
        ("83.5", 83.5),
        ("83.", 83),
        ("83,5", 83.5),
        (" 7 ", 7),
        ("1:23", 83),
        ("1:23.5", 83.5),
        ("01:02:03", 3723),
        ("00:01:23,500", 83.5),
        ("90:00", 5400),
        ("0:05", 5),
    ],
)
def test_a_moment_is_read_as_people_write_it(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "noon", "-3", "+3", "nan", "inf", "1e3", "1 000", "1,234.5", "٣", "1:23pm", "9" * 400),
        *("1:75", "1:60", "1:60:00", "1:2:3:4", ":30", "1:", "1.5:30"),
    ],
    ids=lambda text: text[:10],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time"):
        parse_time(text)
