"""Every command line that a message of vidfind names, as a user would type it.

Lies below all other packages, so that each of them can use it. A word in capitals, such as FOLDER, is for the user to
fill in. `tests/test_commands.py` gives each command line to the real program, and finds messages that name one by hand.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

DEFAULT_INDEX = "default"
NO_ADAPTER = "none"


class Named(Protocol):
    """The folder of an index, on disk or in object storage: `--index` takes its name."""

    @property
    def name(self) -> str: ...


OTHER_INDEX = Path("NAME")
"""An index that the user is to name."""


def index_command(
    index: Named | None = None,
    folders: Iterable[Path | str] = (),
    *,
    model: str | None = None,
    pretrained: str | None = None,
    encoder: str | None = None,
    adapter: str | None = None,
    segment_length: float | None = None,
    overlap: bool = False,
) -> str:
    """Index folders, or FOLDER if none is given, into the index at a path; `segment_length` is in seconds."""
    options = {"model": model, "pretrained": pretrained, "encoder": encoder, "adapter": adapter}
    length = f"{segment_length:g}" if segment_length is not None else None
    words = [*_options({**options, "segment": length}), *["--overlap"] * overlap]
    return _line("index", *(list(folders) or ["FOLDER"]), *words, index=index)


def retry_command(index: Named | None = None) -> str:
    """Try a file again that could not be read, and leave all others."""
    return _line("index", "FILE", "--force", index=index)


def list_command() -> str:
    """Index the files of a list that another program prints."""
    return _line("index", "--files-from", "-")


def adapter_command(index: Named, adapter: str | None) -> str:
    """Encode the index at a path again with another adapter, or go on with that. None: without an adapter."""
    return _line("index", "--adapter", adapter or NO_ADAPTER, index=index)


def weights_command(index: Named) -> str:
    """Tell the index at a path where the checkpoint file that it was made with is now."""
    return _line("index", "--pretrained", "FILE", index=index)


def search_command(query: str = "dog catching frisbee", index: Named | None = None) -> str:
    return _line("search", query, index=index)


def moments_command() -> str:
    """Print the moments that a search finds, for other programs."""
    return _line("search", "dog catching frisbee", "--json")


def export_command() -> str:
    """Make clips of the moments that a search finds."""
    return _line("export", "dog catching frisbee", "--clips", "FOLDER")


def status_command(index: Named | None = None) -> str:
    return _line("status", index=index)


def forget_command(index: Named | None = None, folder: Path | str = "FOLDER") -> str:
    """Forget the videos of a folder."""
    return _line("remove", folder, index=index)


def delete_command(index: Named) -> str:
    """Delete the index at a path."""
    return _line("remove", "--all", index=index)


def finetune_command(
    *, model: str | None = None, pretrained: str | None = None, encoder: str | None = None, name: str | None = None
) -> str:
    options = {"encoder": encoder, "name": name, "model": model, "pretrained": pretrained}
    return _line("finetune", "--pairs", "FILE", *_options(options))


def finetune_help_command() -> str:
    return _line("finetune", "--help")


def import_command(adapter: Path | str) -> str:
    """Save the adapter in a file."""
    return _line("adapters", "import", adapter)


def show_command(adapter: str) -> str:
    """Show a saved adapter."""
    return _line("adapters", "show", adapter)


def default_command(adapter: str = NO_ADAPTER) -> str:
    """Let new indexes use an adapter; by default none."""
    return _line("adapters", "default", adapter)


def encoders_command() -> str:
    return _line("encoders")


def models_command() -> str:
    return _line("models")


def doctor_command(index: Named | None = None) -> str:
    """Check everything; with `index`, this one alone of the indexes."""
    return _line("doctor", index=index)


def mend_command(index: Named | None = None) -> str:
    """Mend what can be mended; with `index`, this one alone of the indexes."""
    return _line("doctor", "--fix", index=index)


def tag_list_command(index: Named | None = None) -> str:
    return _line("tag", "list", index=index)


def tag_videos_command(tag: str, index: Named | None = None) -> str:
    """List the videos with a tag."""
    return _line("list", "--tag", tag, index=index)


def tag_add_command(index: Named | None = None) -> str:
    """Say that a video has a tag."""
    return _line("tag", "add", "VIDEO", "TAG", index=index)


def tag_reject_command(video: Path | str, tag: str, index: Named | None = None) -> str:
    """Say that a tag is wrong."""
    return _line("tag", "reject", video, tag, index=index)


def tag_review_command(index: Named | None = None) -> str:
    """Accept or reject what is suggested."""
    return _line("tag", "review", index=index)


def tag_remove_command(tag: str, index: Named | None = None) -> str:
    """Take a tag from all videos."""
    return _line("tag", "remove", "--all", tag, index=index)


def tag_import_command(file: Path | str, index: Named | None = None) -> str:
    """Take the tags of a list."""
    return _line("tag", "import", file, index=index)


def learn_import_command(file: Path | str, index: Named | None = None) -> str:
    """Take the classes of a list."""
    return _line("learn", "import", file, index=index)


def learn_add_command(index: Named | None = None) -> str:
    """Give an example of a class."""
    return _line("learn", "add", "TASK", "CLASS", "VIDEO", index=index)


def learn_fit_command(index: Named | None = None) -> str:
    return _line("learn", "fit", index=index)


def learn_list_command(index: Named | None = None) -> str:
    return _line("learn", "list", index=index)


def class_search_command(name: str, index: Named | None = None) -> str:
    """Search for moments with a class, such as pets:rex."""
    return _line("search", "--is", name, index=index)


def web_command() -> str:
    return _line("web")


def bench_command() -> str:
    """Measure, and print what a later run can be compared with."""
    return _line("bench", "--json")


def _line(*words: Path | str, index: Named | None = None) -> str:
    name = [] if index is None or index.name == DEFAULT_INDEX else ["--index", index.name]
    return " ".join(["vidfind", *(_quoted(str(word)) for word in [*words, *name])])


def _options(values: dict[str, str | None]) -> list[str]:
    return [word for name, value in values.items() if value is not None for word in (f"--{name}", value)]


def _quoted(word: str) -> str:
    """A word as one word for a shell: in double quotes where these do, as every shell knows them."""
    return f'"{word}"' if re.fullmatch(r"[\w ,.:/-]* [\w ,.:/-]*", word) else shlex.quote(word)
