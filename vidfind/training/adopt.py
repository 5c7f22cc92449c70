"""From an index to what is trained for it, and from the trained adapter back into use.

Decides, and writes the adapter and the default. Asks nobody and shows nothing: a screen does that with the results.
"""

from __future__ import annotations

from collections.abc import Mapping, Sized
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vidfind.encoders.names import EncoderChoice, EncoderIdentity
from vidfind.models.adapter_file import Adapter, AdapterInfo, read_info, write_adapter
from vidfind.models.default_adapters import is_for_daily_use, set_default_adapter
from vidfind.models.load import joint_digest
from vidfind.system.paths import NO_ADAPTER

if TYPE_CHECKING:
    from vidfind.store.store import Store

Fit = Literal["no index", "other encoder", "same vectors", "other vectors"]
"""How an adapter fits an index. `no index`: there is none, or it is empty. `other encoder`: the index is of another
model or encoder. `same vectors`: it can use the adapter at once. `other vectors`: its videos must be encoded anew."""


@dataclass(frozen=True)
class Saved:
    """An adapter that was saved after training."""

    info: AdapterInfo
    """As it is in the file, with the digest of what it changes."""
    is_worse: bool
    """Whether the held-out pairs are found worse than before training."""
    is_default: bool
    """Whether new indexes of its model use it from now on."""


def choose_start(asked: EncoderChoice, store: Store | None, text_only: bool) -> EncoderChoice:
    """Returns the encoder to train: what was asked for, and else what the index was made with.

    Its adapter is the one to continue from. With `text_only` that is by default the adapter of the index, so that the
    vectors of the index stay valid."""
    if asked.wanted_adapter or not store or asked.model not in (None, store.settings.identity.model):
        return asked  # an adapter knows what it was trained with
    if text_only:
        return asked.or_else(store.choice)
    own = replace(
        store.choice, reading=None
    )  # its videos are encoded again in any case, in the form that suits the model
    return asked.or_else(EncoderChoice(adapter=NO_ADAPTER)).or_else(own)


def describe(
    name: str,
    identity: EncoderIdentity,
    kind: str,
    trained: Mapping[str, Sized],
    digest: str,
    metrics: Mapping[str, Any],
    words: Mapping[str, Mapping[str, Any]],
    pairs: int,
) -> AdapterInfo:
    """Returns the header of an adapter that was trained now; `digest` and `pairs` are of the pairs of its training."""
    return AdapterInfo(
        name=name,
        model=identity.model,
        pretrained=identity.pretrained,
        weights_digest=identity.weights_digest,
        encoder=identity.encoder,
        num_frames=identity.num_frames,
        kind=kind,
        rank=next((len(tensor) for name, tensor in trained.items() if name.endswith("lora_a")), 0),
        pairs_digest=digest,
        num_pairs=pairs,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        metrics=dict(metrics),
        words={word: dict(facts) for word, facts in words.items()},
        reading=identity.reading,
    )


def save_trained(
    adapter: Adapter, path: Path, store: Store | None, *, is_worse: bool, is_better: bool, default: bool | None
) -> Saved:
    """Writes a trained adapter to `path`, the place of its name, and makes it the default if it is to be that.

    `is_better`: clearly more of the held-out captions find their video first, see `FineTuning.is_better`; `is_worse`:
    fewer do. `default` says whether it is to be the default; None: if it is better and its encoder is no trial. `store`
    is the index in use. Raises StorageError."""
    assert adapter.info
    write_adapter(path, adapter)
    used = store.settings.identity.encoder if store else None
    is_default = is_better and is_for_daily_use(adapter.info, used) if default is None else default
    if is_default:
        set_default_adapter(adapter.info.name)
    return Saved(read_info(path), is_worse, is_default)


def fit_of(info: AdapterInfo, base: EncoderIdentity, store: Store | None) -> Fit:
    """How the adapter fits an index; `base` is the encoder that it was trained on, without it."""
    if not store or not store.count_videos():
        return "no index"
    ours = store.settings.identity
    if (ours.model, ours.encoder) != (base.model, base.encoder):
        return "other encoder"
    digest = joint_digest(base.weights_digest, info.video_digest)
    is_same = (ours.weights_digest, ours.reading) == (digest, info.reading)
    return "same vectors" if is_same else "other vectors"
