"""Tags as XMP sidecars: `vidfind tag export --xmp` and `--beside`, and `vidfind tag import` of them."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.support.ran import Run
from tests.support.stored import put
from tests.support.tagged import Library, make_library

OF_DIGIKAM = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 4.4.0-Exiv2">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:digiKam="http://www.digikam.org/ns/1.0/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:dc="http://purl.org/dc/elements/1.1/" xmp:Rating="4">
   <digiKam:TagsList><rdf:Seq><rdf:li>Animals/Dog</rdf:li><rdf:li>été</rdf:li></rdf:Seq></digiKam:TagsList>
   {subject}
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
"""
SUBJECT = "<dc:subject><rdf:Bag><rdf:li>Dog</rdf:li><rdf:li>été</rdf:li><rdf:li>a,b</rdf:li></rdf:Bag></dc:subject>"


@pytest.fixture
def library(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> Library:
    library = make_library(tmp_path, run, "a.mp4", "b.mp4", "sub/c.mp4")
    monkeypatch.chdir(library.folder)
    return library


def test_tags_go_to_sidecars_and_come_back(library: Library, run: Run) -> None:
    run("tag", "add", "a.mp4", "Dog & <cat>", "places/home", "ünder")
    run("tag", "add", "b.mp4", "dog", "--not")
    run("tag", "add", "sub/c.mp4", "walk", "--from", "5", "--to", "9")
    before = library.said()
    ran = run("tag", "export", "--xmp", "../out")
    assert (ran.code, ran.err) == (0, "Wrote 2 sidecars into ../out.\n")
    assert {*Path("../out").rglob("*.xmp")} == {Path("../out/a.mp4.xmp"), Path("../out/sub/c.mp4.xmp")}
    assert [*library.folder.rglob("*.xmp")] == []
    text = Path("../out/a.mp4.xmp").read_text(encoding="utf-8")
    assert ("<rdf:li>places|home</rdf:li>" in text, text.count("ünder")) == (True, 3)

    assert run("tag", "import", "../out", "--json").code == 0
    assert library.said() == before  # also the part, and the no
    run("tag", "remove", "--all", "Dog & <cat>", "places/home", "ünder")
    assert run("tag", "import", "../out").code == 0
    assert library.said() == before


def test_sidecars_of_other_programs_are_read(library: Library, run: Run) -> None:
    Path("a.mp4.xmp").write_text(OF_DIGIKAM.format(subject=""), encoding="utf-8")
    Path("b.xmp").write_text(OF_DIGIKAM.format(subject=SUBJECT), encoding="utf-8")
    Path("new.xmp").write_text(OF_DIGIKAM.format(subject=""), encoding="utf-8")
    Path("sub/").mkdir()
    Path("sub/c.xmp").write_text("<x")
    ran = run("tag", "import", ".")
    assert ran.code == 0
    assert library.said() == ["a.mp4 Dog", "a.mp4 été", "b.mp4 Dog", "b.mp4 été"]
    for reason in ("b.xmp: The tag 'a,b' has a ','", "new.xmp names no video of the index", "sub/c.xmp is no XMP: "):
        assert reason in ran.err
    assert "line 0" not in ran.err
    assert run("tag", "import", "b.xmp", "--strict").code == 1


def test_sidecars_beside_videos_are_written_only_when_asked_and_keep_what_is_in_them(
    library: Library, run: Run
) -> None:
    run("tag", "add", "a.mp4", "cat")
    file = Path("a.mp4.xmp")
    file.write_text(OF_DIGIKAM.format(subject=SUBJECT), encoding="utf-8")
    ran = run("tag", "export", "--beside")
    assert "1 sidecar there already stayed as they are. To replace their tags: --force" in ran.err
    assert "Dog" in file.read_text(encoding="utf-8")
    assert run("tag", "export", "--beside", "--force").err == "Wrote 1 sidecar beside the videos.\n"
    text = file.read_text(encoding="utf-8")
    assert ("Rating" in text, "Dog" in text, text.count("<rdf:li>cat</rdf:li>")) == (True, False, 3)
    ElementTree.fromstring(text.encode())
    file.write_text("no XML")
    assert "is no XMP" in run("tag", "export", "--beside", "--force").err
    assert file.read_text() == "no XML"


def test_each_copy_gets_a_sidecar_where_it_lies(library: Library, run: Run) -> None:
    first = library.rows["a.mp4"]
    other = library.folder.parent / "more"
    put(
        library.store,
        [
            library.row(
                "../more/a.mp4",
                path=other / "a.mp4",
                folder=other,
                fingerprint=first.fingerprint,
                content=first.content,
            )
        ],
    )
    run("tag", "add", "b.mp4", "a.mp4", "cat")
    ran = run("tag", "export", "--xmp", "../out", "--json")
    found = {Path(json.loads(line)["path"]).relative_to("../out").as_posix() for line in ran.out.splitlines()}
    assert found == {"films/a.mp4.xmp", "films/b.mp4.xmp", "more/a.mp4.xmp"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["import", "empty"], "empty holds no .xmp files"),
        (["import", "nope.xmp"], "None of the 1 rows"),
        (["export", "tags.csv", "--beside"], "Give one of FILE, --xmp FOLDER and --beside"),
        (["export", "--xmp", "x", "--beside"], "Give one of FILE, --xmp FOLDER and --beside"),
    ],
)
def test_sidecars_that_make_no_sense_are_refused(library: Library, run: Run, words: list[str], said: str) -> None:
    Path("empty").mkdir()
    ran = run("tag", *words)
    assert (ran.code, said in ran.err) == (2, True), ran.err
