"""Makes the clips of this folder, and truth.json, which says what number is shown when. Needs ffmpeg; the tests do not.

    uv run python tests/clips/make.py [NAME...]

Each frame shows its own number in black and white blocks that survive lossy codecs; see `draw`.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
RATE = 25
WIDTH, HEIGHT = 96, 80
BACKGROUND = (200, 110, 50)
X264 = "-c:v libx264 -preset slow -crf 34 -pix_fmt yuv420p -x264-params"
X265 = "-c:v libx265 -preset medium -crf 36 -pix_fmt yuv420p -tag:v hvc1 -x265-params log-level=none:"
CLOSED = X264 + " keyint=25:min-keyint=25:scenecut=0:bframes=3"
BT709 = "-vf scale=out_color_matrix=bt709 -colorspace bt709 -color_primaries bt709 -color_trc bt709"
BT2020 = "-vf scale=out_color_matrix=bt2020 -colorspace bt2020nc -color_primaries bt2020 -color_trc"


def draw(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A frame: 4 x 4 blocks of 16 pixels in the middle, on orange.

    The block in the upper left corner is white and the other corners are black, so that a turned picture shows. The
    other 12 hold 10 bits of the number, highest first, row by row, then whether the ones among them are odd, and even.
    """
    bits = [number >> i & 1 for i in range(9, -1, -1)]
    odd = sum(bits) % 2
    cells = [1, *bits[:2], 0, *bits[2:10], 0, odd, 1 - odd, 0]
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = BACKGROUND
    top, left = (height - 64) // 2, (width - 64) // 2
    blocks = np.kron(np.array(cells, np.uint8).reshape(4, 4), np.full((16, 16), 255, np.uint8))
    picture[top : top + 64, left : left + 64] = blocks[:, :, None]
    return picture


def read_number(picture: np.ndarray) -> int | None:
    """The number a square picture shows, which `draw` drew; None if it is turned, cut wrongly or too broken to tell."""
    scale = picture.shape[0] / HEIGHT
    middles = [round((16 + 16 * i) * scale) for i in range(4)]
    reach = max(1, round(4 * scale))
    cells = [int(picture[y - reach : y + reach, x - reach : x + reach].mean() > 127) for y in middles for x in middles]
    bits = [*cells[1:3], *cells[4:12]]
    odd = sum(bits) % 2
    if [cells[0], cells[3], *cells[12:]] != [1, 0, 0, odd, 1 - odd, 0]:
        return None
    return sum(bit << 9 - i for i, bit in enumerate(bits))


@dataclass(frozen=True)
class Clip:
    """How a clip is encoded: arguments of ffmpeg, then what happens to the file, then what it must show."""

    encode: str = ""
    count: int = 75
    size: tuple[int, int] = (WIDTH, HEIGHT)
    rate: int = RATE
    before: str = ""  # arguments before the input
    remux: str = ""  # arguments of a second run that copies the stream
    source: str = ""  # the clip to start from, instead of drawing
    cut_at: float = 0.0  # the part of the file that is kept; 0: all
    noise: tuple[float, float] | None = None  # the part of the file that noise takes the place of
    to_pipe: str = ""  # the container's name, when it is written without going back
    turn: int = 0  # how many quarter turns counter-clockwise the picture is stored away from how it is shown
    first: int = 0  # the number shown at time 0
    shown: int = 0  # how many frames are shown; 0: all
    times: list[float] = field(default_factory=list)


# Frames are dropped from a steady video so that the gaps between those left are uneven.
VFR_NUMBERS = [n for n in range(100) if (n < 30 and n % 2 == 0) or 30 <= n < 50 or (n >= 50 and n % 7 == 0)]
VFR = "-vf select='lt(n,30)*not(mod(n,2))+between(n,30,49)+gte(n,50)*not(mod(n,7))' -fps_mode passthrough"

CLIPS = {
    "h264.mp4": Clip(CLOSED),
    "h264_open_gop.mp4": Clip(X264 + " keyint=15:min-keyint=15:scenecut=0:bframes=3:open-gop=1", 100),
    "h264_long_gop.mp4": Clip(X264 + " keyint=1000:scenecut=0:bframes=3", 200),
    "h264_refresh.mp4": Clip(X264 + " keyint=20:intra-refresh=1:bframes=0", 100),
    "h264_bt709.mp4": Clip(f"{BT709} {CLOSED}", 25),
    "h264_sound.mp4": Clip("-f lavfi -i sine=d=6 -map 0:v -map 1:a -c:a aac -b:a 8k -ac 1 -ar 8000 " + CLOSED, 50),
    "hevc.mp4": Clip(X265 + "keyint=25:open-gop=0"),
    "hevc_open_gop.mp4": Clip(X265 + "keyint=15:min-keyint=15:scenecut=0:open-gop=1:bframes=4", 100),
    "hevc_10bit.mp4": Clip(X265.replace("yuv420p", "yuv420p10le") + "keyint=25:open-gop=0"),
    "hevc_pq.mp4": Clip(f"{BT2020} smpte2084 " + X265.replace("yuv420p", "yuv420p10le") + "keyint=25:open-gop=0", 50),
    "hevc_hlg.mp4": Clip(
        f"{BT2020} arib-std-b67 " + X265.replace("yuv420p", "yuv420p10le") + "keyint=25:open-gop=0", 50
    ),
    "vp8.webm": Clip("-c:v libvpx -crf 30 -b:v 200k -g 25"),
    "vp9.webm": Clip("-pix_fmt yuv420p -c:v libvpx-vp9 -crf 45 -b:v 0 -g 25"),
    "vp9_alpha.webm": Clip("-vf format=yuva420p -c:v libvpx-vp9 -crf 45 -b:v 0 -g 25 -auto-alt-ref 0", 50),
    "vp9_odd.webm": Clip("-pix_fmt yuv420p -c:v libvpx-vp9 -crf 45 -b:v 0 -g 25", 50, (97, 81)),
    "av1.mp4": Clip("-pix_fmt yuv420p -c:v libaom-av1 -cpu-used 6 -crf 50 -g 25", 50),
    "mpeg4.avi": Clip("-c:v mpeg4 -q:v 12 -bf 2 -g 25", 50),
    "mpeg4.mp4": Clip("-c:v mpeg4 -q:v 12 -bf 2 -g 25", 50),
    "mpeg2.ts": Clip("-c:v mpeg2video -q:v 12 -bf 2 -g 12", 75),
    "mpeg2.mpg": Clip("-c:v mpeg2video -q:v 12 -bf 2 -g 12 -f vob", 50),
    "h264.ts": Clip(CLOSED),
    "prores.mov": Clip("-c:v prores_ks -profile:v 0 -qscale:v 31 -pix_fmt yuv422p10le", 15),
    "mjpeg.avi": Clip("-c:v mjpeg -q:v 20 -pix_fmt yuvj420p", 25),
    "gif.gif": Clip("-vf split[a][b];[a]palettegen=max_colors=8[p];[b][p]paletteuse=dither=none", 40, rate=20),
    "wmv2.wmv": Clip("-c:v wmv2 -q:v 12 -g 25", 75),
    "flv1.flv": Clip("-c:v flv -q:v 12 -g 25", 50),
    "h264.flv": Clip(CLOSED, 50),
    "vfr.mp4": Clip(f"{VFR} {CLOSED} -video_track_timescale 90000", 100, times=[n / RATE for n in VFR_NUMBERS]),
    "vfr.mkv": Clip(f"{VFR} {CLOSED}", 100, times=[n / RATE for n in VFR_NUMBERS]),
    "rotated90.mp4": Clip(
        CLOSED, 50, turn=3, remux="-metadata:s:v rotate=90 -metadata creation_time=2021-07-08T09:10:11Z"
    ),
    "rotated180.mp4": Clip(CLOSED, 50, turn=2, remux="-metadata:s:v rotate=180"),
    "rotated270.mp4": Clip(CLOSED, 50, turn=1, remux="-metadata:s:v rotate=270"),
    "start_offset.ts": Clip(source="h264.mp4", remux="-output_ts_offset 100 -f mpegts"),
    "start_offset.mp4": Clip(source="h264.mp4", remux="-output_ts_offset 3 -avoid_negative_ts disabled"),
    "start_offset.mkv": Clip(source="h264.mp4", remux="-output_ts_offset 3"),
    "edit_list.mp4": Clip(source="h264.mp4", before="-ss 1.4", remux="-avoid_negative_ts disabled", first=35, shown=40),
    "fragmented.mp4": Clip(source="h264.mp4", remux="-movflags frag_keyframe+empty_moov"),
    "cues.mkv": Clip(source="h264.mp4", remux="-f matroska"),
    "no_cues.mkv": Clip(source="h264.mp4", to_pipe="matroska"),
    "interlaced.mp4": Clip(CLOSED + ":tff=1 -flags +ildct+ilme", 25),
    "anamorphic.mp4": Clip("-vf scale=48:80:flags=area,setsar=2 " + CLOSED, 25),
    "long.mp4": Clip(CLOSED, 300, rate=5),
    "long.mkv": Clip(CLOSED, 300, rate=5),
    "long.ts": Clip(CLOSED + " -pcr_period 500", 80, rate=2),
    "long.mpg": Clip("-r 25 -c:v mpeg2video -q:v 20 -bf 2 -g 50 -f vob", 125, rate=5),
    "long.wmv": Clip("-c:v wmv2 -q:v 16 -g 25", 300, rate=5),
    "long_open_gop.mp4": Clip(CLOSED + ":open-gop=1", 300, rate=5),
    "one_frame.mp4": Clip(CLOSED, 1),
    "short.mp4": Clip(CLOSED, 5),
    "truncated.mp4": Clip(source="h264.mp4", remux="-movflags faststart", cut_at=0.8),
    "truncated.mkv": Clip(source="h264.mp4", remux="-f matroska -cluster_time_limit 500", cut_at=0.8),
    "truncated.ts": Clip(source="h264.mp4", remux="-f mpegts", cut_at=0.8),
    "bad_block.mp4": Clip(source="h264.mp4", remux="-movflags faststart", noise=(0.71, 0.74)),
    "bad_block.mkv": Clip(source="h264.mp4", remux="-f matroska -cluster_time_limit 500", noise=(0.58, 0.61)),
    "bad_block.ts": Clip(source="h264.mp4", remux="-f mpegts", noise=(0.48, 0.51)),
    "damaged.mp4": Clip(source="hevc.mp4", remux="-movflags faststart", noise=(0.75, 1.0)),
}

NO_VIDEO = {
    "sound.m4a": "-f lavfi -i sine=d=1 -c:a aac -b:a 8k -ac 1 -ar 8000",
    "sound.mp4": "-f lavfi -i sine=d=1 -c:a aac -b:a 8k -ac 1 -ar 8000",
    "cover.mp3": "-f lavfi -i sine=d=1 -f lavfi -i color=red:s=16x16:d=0.04 -map 0 -map 1 -c:a libmp3lame -b:a 8k "
    "-ar 8000 -c:v mjpeg -pix_fmt yuvj420p -disposition:v attached_pic",
    "cover.m4a": "-f lavfi -i sine=d=1 -f lavfi -i color=red:s=16x16:d=0.04 -map 0 -map 1 -c:a aac -b:a 8k -ar 8000 "
    "-c:v mjpeg -pix_fmt yuvj420p -disposition:v attached_pic",
}


def spoil(data: bytes, clip: Clip) -> bytes:
    """What a bad disk or a download that stopped leaves of a file."""
    if clip.cut_at:
        data = data[: int(len(data) * clip.cut_at)]
    if clip.noise:
        start, end = (int(len(data) * part) for part in clip.noise)
        data = data[:start] + np.random.default_rng(0).bytes(end - start) + data[end:]
    return data


def ffmpeg(arguments: str, output: Path | str, frames: bytes | None = None) -> bytes:
    command = ["ffmpeg", "-y", "-v", "error", "-fflags", "+bitexact", *arguments.split(), str(output)]
    return subprocess.run(command, input=frames, check=True, stdout=subprocess.PIPE).stdout


def make(name: str, clip: Clip) -> None:
    path = HERE / name
    if clip.to_pipe:
        path.write_bytes(ffmpeg(f"-i {HERE / clip.source} -map 0 -c copy -f {clip.to_pipe}", "-"))
    elif clip.source:
        ffmpeg(f"{clip.before} -i {HERE / clip.source} -map 0 -c copy {clip.remux}", path)
    else:
        width, height = clip.size
        frames = b"".join(np.rot90(draw(n, width, height), clip.turn).tobytes() for n in range(clip.count))
        if clip.turn % 2:
            width, height = height, width
        given = f"-f rawvideo -pix_fmt rgb24 -s {width}x{height} -r {clip.rate} -i - "
        ffmpeg(given + clip.encode + " -flags +bitexact", path, frames)
        if clip.remux:
            encoded = path.rename(path.with_stem("encoded"))
            ffmpeg(f"-i {encoded} -c copy {clip.remux}", path)
            encoded.unlink()
    path.write_bytes(spoil(path.read_bytes(), clip))


def truth(clip: Clip) -> dict[str, Sequence[float]]:
    """The time each frame is shown, and its number."""
    if clip.times:
        numbers = [round(time * clip.rate) for time in clip.times]
        return {"times": clip.times, "numbers": numbers}
    count = clip.shown or clip.count
    return {"times": [i / clip.rate for i in range(count)], "numbers": [clip.first + i for i in range(count)]}


def main() -> None:
    chosen = sys.argv[1:] or [*CLIPS, *NO_VIDEO]
    for name in chosen:
        if name in CLIPS:
            make(name, CLIPS[name])
        else:
            ffmpeg(NO_VIDEO[name], HERE / name)
        print(f"{(HERE / name).stat().st_size:8} {name}")
    lines = [f'"{name}": {json.dumps(truth(clip))}' for name, clip in CLIPS.items()]
    (HERE / "truth.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
