"""The names of tags and classes, and what the labels of a video say together."""

from __future__ import annotations

from vidfind.store.labels import Label as Label
from vidfind.store.labels import Mark as Mark
