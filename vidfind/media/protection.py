"""Whether the pictures of a file are encrypted: their frames cannot be decoded, or come out as noise without an error.

Reads the marks that containers leave in the clear. Knows nothing of decoders.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

MP4_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip"}  # one of which an MP4 file begins with
TO_SAMPLE_ENTRIES = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
ENCRYPTED_ENTRIES = {b"encv", b"drmi"}  # of pictures: common encryption (CENC), and FairPlay of the iTunes Store
ASF = bytes.fromhex("3026b2758e66cf11")
ASF_HEADER = 2**16  # bytes
ENCRYPTED_ASF = (  # the objects "content encryption" and "extended content encryption" of Windows Media DRM
    bytes.fromhex("fbb31122 23bdd211 b4b700a0 c955fc6e"),
    bytes.fromhex("14e68a29 2226 174c b935dae07ee9289c"),
)
TS_PACKET_SIZES = (188, 192, 204)  # plain, with a time before each packet (Blu-ray, AVCHD), with a checksum
LOOKED_AT = 2 * 2**20  # bytes of TS
PACK = b"\0\0\1\xba"
SECTOR = 2048  # bytes; DVDs encrypt by sectors
PLACES = 256  # sectors that are looked at
MIN_SHARE = 0.05  # of the sectors; DVDs leave many of them in the clear


def is_protected(path: Path) -> bool:
    """Whether the pictures of a file are marked as encrypted in its header, or on a DVD in its sectors.

    False for a file that cannot be read: whoever decodes it says why."""
    with suppress(OSError), open(path, "rb") as file:
        head = file.read(16)
        if head[4:8] in MP4_BOXES:
            return any(entry in ENCRYPTED_ENTRIES for entry in _sample_entries(file, path.stat().st_size))
        if head.startswith(PACK):
            return _has_encrypted_sectors(file, path.stat().st_size)
        if head.startswith(ASF):
            header = file.read(ASF_HEADER)
            return any(mark in header for mark in ENCRYPTED_ASF)
    return False


def is_scrambled(path: Path) -> bool:
    """Whether most of the first packets of TS are scrambled, as broadcasts are without a card."""
    head = b""
    with suppress(OSError), open(path, "rb") as file:
        head = file.read(LOOKED_AT)
    for size in TS_PACKET_SIZES:
        packets = [head[at : at + 4] for at in range(4 if size == 192 else 0, len(head) - 188, size)]
        if len(packets) > 4 and all(packet[0] == 0x47 for packet in packets[:5]):
            filled = [packet for packet in packets if packet[3] & 0x10 and packet[1] & 0x1F != 0x1F]
            return sum(packet[3] >> 6 >= 2 for packet in filled) > len(filled) / 2
    return False


def boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yields the kind of each MP4 box between two places of a file, and where its content starts and ends."""
    while start + 8 <= end:
        file.seek(start)
        header = file.read(16)
        size, begin = int.from_bytes(header[:4], "big"), start + 8
        if size == 1:
            size, begin = int.from_bytes(header[8:], "big"), start + 16
        stop = end if size == 0 else start + size
        if stop < begin:
            return
        yield header[4:8], begin, min(stop, end)
        start = stop


def _sample_entries(file: BinaryIO, size: int, path: tuple[bytes, ...] = TO_SAMPLE_ENTRIES) -> Iterator[bytes]:
    """Yields the kinds of the sample entries of all tracks of an MP4 file."""
    places = [(0, size)]
    for name in path:
        places = [(begin, end) for place in places for kind, begin, end in boxes(file, *place) if kind == name]
    for begin, end in places:
        yield from (kind for kind, _, _ in boxes(file, begin + 8, end))  # after its version and number of entries


def _has_encrypted_sectors(file: BinaryIO, size: int) -> bool:
    count = size // SECTOR
    seen = encrypted = 0
    for number in range(0, count, max(1, count // PLACES)):
        file.seek(number * SECTOR)
        sector = file.read(32)
        begin = 14 + (sector[13] & 7) if len(sector) == 32 else 0
        if sector[:4] == PACK and sector[begin : begin + 4] == b"\0\0\1\xe0":
            seen += 1
            encrypted += sector[begin + 6] & 0xF0 == 0x90
    return encrypted > MIN_SHARE * seen
