"""Makes a large index of random vectors, for `python -m tests.measure.search HOME`.

    python -m tests.measure.large HOME WEIGHTS [--model ViT-B-32] [--segments 100000]

WEIGHTS is a checkpoint file of MODEL in safetensors. The videos, of 100 segments each, are empty files, so that
`--online` finds them; they were filmed over twenty years. A million segments take 2 GB.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

SEGMENTS, LENGTH = 100, 10.0
"""Of each video, and in seconds."""
VIDEOS_A_COMMIT = 500
BEGINNING, YEARS = datetime(2004, 1, 1, tzinfo=UTC), 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("home", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--model", default="ViT-B-32")
    parser.add_argument("--segments", type=int, default=100_000)
    asked = parser.parse_args()
    from vidfind.encoders.names import EncoderIdentity
    from vidfind.models.load import model_config, weights_digest
    from vidfind.store.settings import IndexSettings
    from vidfind.store.store import Embedded, Store
    from vidfind.store.tables import VideoRow, new_content

    home, weights = asked.home.resolve(), asked.weights.resolve()
    config = model_config(asked.model)
    assert config
    digest = weights_digest(asked.model, weights, str(weights))
    identity = EncoderIdentity(asked.model, str(weights), digest, "tempme", None, 12, "frame")
    store = Store.create(home / "indexes" / "default", IndexSettings(identity), config["embed_dim"])
    folder, random = home / "videos", np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    spans = [(LENGTH * i, LENGTH * (i + 1)) for i in range(SEGMENTS)]
    count = asked.segments // SEGMENTS
    with store.writing() as writer:
        for start in range(0, count, VIDEOS_A_COMMIT):
            rows, embedded = [], []
            for number in range(start, min(count, start + VIDEOS_A_COMMIT)):
                path, content = folder / f"{number:06}.mp4", new_content()
                path.touch()
                vectors = random.standard_normal((SEGMENTS, config["embed_dim"]), np.float32)
                vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
                created = BEGINNING + timedelta(days=365 * YEARS * number / count)
                rows.append(
                    VideoRow(
                        path=path,
                        folder=folder,
                        size=0,
                        mtime_ns=path.stat().st_mtime_ns,
                        fingerprint=f"{number:032}",
                        created=created,
                        created_from="name",
                        indexed_at=created,
                        content=content,
                        segments=SEGMENTS,
                        duration=LENGTH * SEGMENTS,
                        width=1920,
                        height=1080,
                        codec="h264",
                    )
                )
                embedded.append(Embedded(content, spans, vectors))
            writer.put(rows, embedded)
        writer.compact()
    print(f"{store.count_videos():,} videos in {home}")


if __name__ == "__main__":
    main()
