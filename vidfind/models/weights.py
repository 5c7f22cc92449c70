"""Files of weights: whether one is whole, of a kind that loads without running what it holds, and of the right content.

Looks at the ends of a file, and at its numbers only where that is said. Knows nothing of models or of where files come
from.
"""

import hashlib
import re
import zipfile
from pathlib import Path
from pickle import UnpicklingError

from safetensors import SafetensorError, safe_open

# What is saved in place of a file when fetching it went wrong, by how that begins.
NOT_WEIGHTS = {
    b"version https://git-lfs": "is a pointer of Git LFS, not the file itself: fetch that with `git lfs pull`",
    b"<!doctype": "is a web page: the download has to be of the file itself",
    b"<html": "is a web page: the download has to be of the file itself",
    b"<?xml": "is an error that a server sent in place of the file",
}
SAFETENSORS = ".safetensors"
PICKLE = (b"PK\x03\x04", b"\x80\x02")  # what torch.save writes: a zip archive; before 2020, pickles one after another
SHA256 = re.compile("[0-9a-f]{64}")


def weights_problem(path: Path) -> str:
    """Why a file can be no weights, to be put after its name; empty if nothing shows. Takes milliseconds.

    Raises OSError for a file that cannot be read."""
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
    """Why PyTorch could not read weights, to be put after the name of their file. Leaves out its advice to trust it."""
    if isinstance(error, UnpicklingError) and "GLOBAL" in str(error):  # so the file calls a function of a module
        return (
            "is refused: it holds more than tensors, and reading that could run anything on this machine. "
            "Ask its maker for the state dict alone"
        )
    if isinstance(error, UnpicklingError):
        return "is no checkpoint that PyTorch can read"
    return f"is no checkpoint that PyTorch can read: {first_line(error)}"


def first_line(error: Exception) -> str:
    """The gist of what PyTorch says, without its advice to load the file whatever it does."""
    lines = str(error).strip().split(". In PyTorch")[0].splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".:")


def digest_problem(path: Path, expected: str | None = None) -> str:
    """Whether the content is not what the hub says it is, to be put after the file's name; reads all of it.

    `expected` is its SHA-256; by default what the Hugging Face cache has named it by, if it has."""
    expected = expected or (path.readlink().name if path.is_symlink() else "")
    if not SHA256.fullmatch(expected):
        return ""
    with open(path, "rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    return "" if content == expected else f"is damaged (its SHA-256 is {content[:12]}..., not {expected[:12]}...)"
