"""Decoding on a device, such as the video engine of a GPU: which devices are here, and which one a run uses.

FFmpeg decodes on the device through PyAV, which copies the frames to memory. A device that opens may still refuse a
file, show other pictures, or be slower than the processor: so it is tried with a video first. Devices are opened in
workers alone, as their drivers may crash. Nothing heavy is imported before it is used. Times are in seconds.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vidfind.errors import DecoderLost, DeviceMissing, ReaderFailed

if TYPE_CHECKING:
    import numpy as np

    from vidfind.media.sampling import Sampling, View
    from vidfind.system.worker import Worker

log = logging.getLogger(__name__)

Decoder = Literal["auto", "cpu", "hardware"]
"""`cpu`: the processor. `hardware`: a device, and the processor for files that the device cannot decode. `auto`: a
device if it decodes the first video faster than the processor, else the processor. With the sampling
`exact` the processor decodes: only the reader of keyframes knows devices."""
DEFAULT_DECODER: Decoder = "auto"
PROCESSOR = ""
"""Stands for the processor where the name of a device type is expected."""

DEVICE_TYPES: dict[str, tuple[str, ...]] = {
    "darwin": ("videotoolbox",),
    "linux": ("cuda", "vaapi"),
    "win32": ("cuda", "d3d11va"),
}
"""FFmpeg's names of device types by `sys.platform`, the best first. qsv and amf need other decoders than the usual."""
EVERYWHERE = "h264"
"""A codec that all of these devices decode."""
TRIED_SEGMENTS = 3
MAX_DIFFERENCE = 4.0
"""Mean difference, in grey levels, between the same pictures from device and processor: rounding, smoothed edges."""
PATIENCE = 60.0


@dataclass(frozen=True)
class Device:
    """A device type that FFmpeg knows. `trouble` says why it cannot be used; empty if it can."""

    name: str
    trouble: str = ""


@dataclass(frozen=True)
class Trial:
    """How long it took to read the first segments of a video with a device, or with the processor."""

    device: str
    seconds: float


def known_types() -> list[str]:
    """Returns the device types of this system for which FFmpeg was built, the best first."""
    from av.codec.hwaccel import hwdevices_available

    built = hwdevices_available()
    return [name for name in DEVICE_TYPES.get(sys.platform, ()) if name in built]


def find_devices() -> list[Device]:
    """Opens each device type of this system, in a worker."""
    from vidfind.system.worker import borrow_worker

    found: list[Device] = []
    for name in known_types():
        with borrow_worker() as worker:
            try:
                found += worker.run(open_device, name, seconds=PATIENCE)
            except DecoderLost as error:
                found.append(Device(name, str(error)))
    return found


def open_device(name: str) -> Iterator[Device]:
    """Yields the device type, opened once. For a worker."""
    import av
    from av.codec.hwaccel import HWAccel

    try:
        context = av.CodecContext.create(EVERYWHERE, "r", hwaccel=HWAccel(name))
        yield Device(name, "" if context.is_hwaccel else f"FFmpeg here does not decode {EVERYWHERE} with it")
    except av.error.FFmpegError as error:
        log.debug("%s: %s", name, error)  # "Operation not permitted", for instance, where there is none
        yield Device(name, "no such device, or its driver is missing")


def first_device() -> str:
    """Returns the best device type that opens. Raises DeviceMissing."""
    devices = find_devices()
    for device in devices:
        if not device.trouble:
            return device.name
    found = "; ".join(f"{device.name}: {device.trouble}" for device in devices)
    raise DeviceMissing(
        f"No device here decodes videos ({found or 'FFmpeg knows none for this system'}). Use --decoder auto or cpu."
    )


# The choice for a run -------------------------------------------------------------------------------------------------


class DeviceChoice:
    """The device of a run, chosen once: the threads that decode its videos share it."""

    def __init__(
        self,
        decoder: Decoder,
        segment_length: float,
        num_frames: int,
        view: View | int,
        sampling: Sampling,
        decoders: int,
    ) -> None:
        """`decoders` is the number of workers that decode at a time. Raises DeviceMissing for `hardware` without any.

        `auto` stays undecided until a video comes that a device may decode."""
        self._wanted = (segment_length, num_frames, view, sampling)
        self._decoders = decoders
        self._lock = threading.Lock()
        self._device: str | None = None
        if decoder == "hardware" and sampling != "exact":
            self._device = first_device()
        elif decoder == "cpu" or sampling == "exact" or not known_types():
            self._device = PROCESSOR

    def device_for(self, worker: Worker, path: Path) -> str:
        """Returns the device for a video, or PROCESSOR. The first call tries the devices with that video."""
        with self._lock:
            if self._device is None:
                self._device = self._try(worker, path)
            return self._device or PROCESSOR

    def give_up(self, reason: object) -> None:
        """Leaves all videos from now on to the processor."""
        with self._lock:
            log.warning("Decoding goes on without %s: %s", self._device, reason)
            self._device = PROCESSOR

    def _try(self, worker: Worker, path: Path) -> str | None:
        """Returns the device to use, or PROCESSOR; None if the video cannot tell."""
        seconds: dict[str, float] = {}
        try:
            for trial in worker.run(time_decoders, path, *self._wanted, seconds=PATIENCE):
                seconds[trial.device] = trial.seconds
        except DecoderLost as error:
            log.info("The processor decodes: a device was tried with %s, which %s", path, error)
            return PROCESSOR
        except Exception as error:  # of the file, which is reported when its turn comes
            log.debug("%s: no device could be tried: %s", path, error)
            return None
        if len(seconds) < 2:
            return PROCESSOR if seconds else None
        device = fastest(seconds, self._decoders)
        told = ", ".join(f"{name or 'processor'} {spent:.2f} s" for name, spent in seconds.items())
        log.info("Decoding with %s for this run: the start of %s took %s", device or "the processor", path, told)
        return device


def fastest(seconds: Mapping[str, float], decoders: int) -> str:
    """Returns the device to use by the time of each and of PROCESSOR for the same video, or PROCESSOR.

    A device is one for all decoders, which have a core each: so it has to be as fast as all of them together."""
    device = min((name for name in seconds if name != PROCESSOR), key=lambda name: seconds[name], default=PROCESSOR)
    return device if seconds[device] * decoders < seconds[PROCESSOR] else PROCESSOR


def time_decoders(
    path: Path, segment_length: float, num_frames: int, view: View | int, sampling: Sampling
) -> Iterator[Trial]:
    """Yields the trial of each device that decodes the start of a video right, and that of the processor.

    Nothing where no device decodes that video; zero seconds of the processor alone where no device opens. For a worker.
    """
    import numpy as np

    from vidfind.media.probe import examine_once
    from vidfind.media.read import choose_reader
    from vidfind.media.readers.keyframes import read_by_keyframes
    from vidfind.media.sampling import split_segments

    usable = [name for name in known_types() if not any(device.trouble for device in open_device(name))]
    if not usable:
        yield Trial(PROCESSOR, 0.0)
        return
    info, traits = examine_once(path)
    segments = split_segments(info.duration, segment_length, info.start)[:TRIED_SEGMENTS]

    def read(device: str) -> tuple[float, np.ndarray]:
        began = time.perf_counter()
        samples = read_by_keyframes(path, traits, segments, num_frames, view, sampling, device=device)
        pictures = np.concatenate([sample.frames for sample in samples])
        return time.perf_counter() - began, pictures

    trials = []
    for device in usable if choose_reader(traits, sampling) == "keyframes" else ():
        try:
            _, others = read(device)  # the first time, its driver starts and the file is read from the disk
            spent, pictures = read(PROCESSOR)
            seconds, _ = read(device)
        except ReaderFailed as error:
            log.info("%s does not decode %s: %s", device, path, error)
            continue
        if (difference := mean_difference(pictures, others)) > MAX_DIFFERENCE:
            log.info("%s shows other pictures of %s, by %.1f grey levels", device, path, difference)
        else:
            trials += [Trial(PROCESSOR, spent), Trial(device, seconds)]
    yield from trials


def mean_difference(one: np.ndarray, other: np.ndarray) -> float:
    """Returns the mean difference of two arrays of pictures of the same shape, uint8, in grey levels."""
    import numpy as np

    return float(np.abs(one.astype(np.int16) - other).mean())
