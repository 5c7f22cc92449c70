"""Encrypted videos are told apart from damaged ones, in every container that can mark them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.clocks import steady, write_clip
from tests.support.numbered import WHOLE
from vidfind.errors import UnreadableVideo
from vidfind.media.probe import probe
from vidfind.media.protection import is_protected, is_scrambled

CENC = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "76" * 16, "encryption_kid": "a7" * 16}
CODEC_LIST = bytes.fromhex("4052d1861d31d011a3a400a0c90348f6")  # an object of ASF that can be done without
ENCRYPTION = bytes.fromhex("fbb3112223bdd211b4b700a0c955fc6e")


def common_encryption(path: Path, clips: Path) -> None:
    write_clip(path, steady(0, 2), options=CENC, sound=(0, 2))


def fragments(path: Path, clips: Path) -> None:
    write_clip(path, steady(0, 2), options={**CENC, "movflags": "frag_keyframe+empty_moov"})


def fairplay(path: Path, clips: Path) -> None:
    before, _, after = (clips / "h264.mp4").read_bytes().rpartition(b"avc1")
    path.write_bytes(before + b"drmi" + after)


def element(number: str, *content: bytes) -> bytes:
    """An element of Matroska, whose length is below 2 ** 14."""
    data = b"".join(content)
    return bytes.fromhex(number) + (len(data) | 0x4000).to_bytes(2, "big") + data


def matroska(path: Path, clips: Path) -> None:
    encryption = element("5035", element("47e1", b"\5"), element("47e2", b"sixteen bytes id"))
    encoding = element("6240", element("5033", b"\1"), encryption)
    size = element("e0", element("b0", b"\x60"), element("ba", b"\x50"))
    track = [element("d7", b"\1"), element("73c5", b"\1"), element("83", b"\1"), element("86", b"V_VP8"), size]
    frames = [element("a3", b"\x81\0", bytes([number]), b"\x80", b"\1" + bytes(50)) for number in range(5)]
    segment = [
        element("1549a966", element("2ad7b1", b"\x0f\x42\x40")),
        element("1654ae6b", element("ae", *track, element("6d80", encoding))),
        element("1f43b675", element("e7", b"\0"), *frames),
    ]
    path.write_bytes(element("1a45dfa3", element("4282", b"webm")) + element("18538067", *segment))


def scrambled(path: Path, clips: Path) -> None:
    data = bytearray((clips / "h264.ts").read_bytes())
    for at in range(0, len(data), 188):
        if data[at + 1] & 0x1F == 1 and data[at + 2] == 0:  # the picture's packets
            data[at + 3] |= 0x80
            begin = at + 4 + (1 + data[at + 4] if data[at + 3] & 0x20 else 0)
            data[begin : at + 188] = bytes(255 - byte for byte in data[begin : at + 188])
    path.write_bytes(data)


def dvd(path: Path, clips: Path) -> None:
    write_clip(path, steady(0, 3, 25), "mpeg2video", rate=25)
    data = bytearray(path.read_bytes())
    for at in range(0, len(data), 2048):
        begin = at + 14 + (data[at + 13] & 7)
        if data[begin : begin + 4] == b"\0\0\1\xe0":
            data[begin + 6] |= 0x10
    path.write_bytes(data)


def windows_media(path: Path, clips: Path) -> None:
    path.write_bytes((clips / "wmv2.wmv").read_bytes().replace(CODEC_LIST, ENCRYPTION))


MAKE: dict[str, Callable[[Path, Path], None]] = {
    "cenc.mp4": common_encryption,
    "fragmented.mp4": fragments,
    "fairplay.m4v": fairplay,
    "encrypted.webm": matroska,
    "scrambled.ts": scrambled,
    "css.vob": dvd,
    "drm.wmv": windows_media,
}


@pytest.mark.parametrize("name", MAKE)
def test_an_encrypted_video_is_protected_and_not_damaged(clips: Path, tmp_path: Path, name: str) -> None:
    MAKE[name](tmp_path / name, clips)
    with pytest.raises(UnreadableVideo, match="is protected"):
        probe(tmp_path / name)


def test_no_other_video_is_protected(clips: Path) -> None:
    assert [name for name in WHOLE if is_protected(clips / name) or is_scrambled(clips / name)] == []
