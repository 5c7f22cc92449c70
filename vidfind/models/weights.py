"""Checks files of weights: complete, safe to load without running code, and with the right content.

Reads the start and the end of a file; `digest_problem` reads all of it. Knows nothing of models or of where files come
from.
"""

import hashlib
import re
import textwrap
import zipfile
from pathlib import Path
from pickle import UnpicklingError

from safetensors import SafetensorError, safe_open

# Files that are often saved by mistake in place of weights, by how they begin.
NOT_WEIGHTS = {
    b"version https://git-lfs": "is a pointer of Git LFS, not the file itself: fetch that with `git lfs pull`",
    b"<!doctype": "is a web page: the download has to be of the file itself",
    b"<html": "is a web page: the download has to be of the file itself",
    b"<?xml": "is an error that a server sent in place of the file",
}
SAFETENSORS = ".safetensors"
PICKLE = (b"PK\x03\x04", b"\x80\x02")  # torch.save writes a zip archive; before 2020, a sequence of pickles
NOT_A_CHECKPOINT = "is no checkpoint that PyTorch can read"
SHA256 = re.compile("[0-9a-f]{64}")


def weights_problem(path: Path) -> str:
    """Returns why a file cannot be weights, as words to follow its name; empty if it looks right. Takes milliseconds.

    Raises OSError if the file cannot be read."""
    with open(path, "rb") as file:
        start = file.read(256)
    if not start.strip(b"\0"):
        return "is filled with zeros" if start else "is empty"
    for beginning, problem in NOT_WEIGHTS.items():
        if start.lstrip().lower().startswith(beginning):
            return problem
    if path.suffix == SAFETENSORS:
        if start.startswith(PICKLE):
            return "is a checkpoint of PyTorch: give it a name that ends with .pt"
        return _safetensors_problem(path)
    if start[8:9] == b"{" and not _safetensors_problem(path):
        return f"is a safetensors file: give it a name that ends with {SAFETENSORS}"
    return _archive_problem(path) if start.startswith(b"PK") else ""


def _safetensors_problem(path: Path) -> str:
    try:
        with safe_open(path, framework="np") as file:  # reads the header, and compares it with the length of the file
            return "" if file.keys() else "holds no tensors"
    except SafetensorError as error:
        reason = str(error).removeprefix("Error while deserializing header: ")
        return f"is cut short or damaged ({reason})"


def _archive_problem(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:  # its list of contents is at the end
            names = {name.rpartition("/")[2] for name in archive.namelist()}
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        return f"is cut short or damaged ({error})"
    if "constants.pkl" in names:
        return (
            "is a TorchScript archive, a program that loading would run: use its weights alone. "
            "OpenAI's come with --pretrained openai"
        )
    return "" if "data.pkl" in names else "is a zip archive of something other than weights"


def loading_problem(error: Exception) -> str:
    """Returns why PyTorch could not read weights, as words after the file's name, without its advice to trust it."""
    if isinstance(error, UnpicklingError) and "GLOBAL" in str(error):  # the file calls a function of a module
        return (
            "is refused: it holds more than tensors, and reading that could run anything on this machine. "
            "Ask its maker for the state dict alone"
        )
    if isinstance(error, UnpicklingError):
        return NOT_A_CHECKPOINT
    return f"{NOT_A_CHECKPOINT}: {first_line(error)}"


def misfit(error: Exception) -> str:
    """Returns why weights that could be read do not load, in a line."""
    if not isinstance(error, RuntimeError):  # open_clip stumbles: StopIteration, AttributeError
        return "it holds something else"
    lines = [line.strip() for line in str(error).splitlines()[1:]]  # below "Error(s) in loading state_dict for CLIP:"
    return textwrap.shorten(lines[0].rstrip("."), 150, placeholder=" and more") if lines else first_line(error)


def first_line(error: Exception) -> str:
    """Returns the first line of an error of PyTorch, without its advice to load the file anyway."""
    lines = str(error).strip().split(". In PyTorch")[0].splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".:")


def digest_problem(path: Path, expected: str | None = None) -> str:
    """Returns how the content differs from its SHA-256, as words to follow the file's name; empty if it is right.

    Reads the whole file. `expected` is the SHA-256; by default the name of the file in the Hugging Face cache."""
    expected = expected or (path.readlink().name if path.is_symlink() else "")
    if not SHA256.fullmatch(expected):
        return ""
    with open(path, "rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    return "" if content == expected else f"is damaged (its SHA-256 is {content[:12]}..., not {expected[:12]}...)"
