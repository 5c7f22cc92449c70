"""Opens an index for searching and answers queries: the public way to search from Python."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from vidfind.categories.naming import Named, named_classes
from vidfind.categories.saved import read_classes
from vidfind.commands import index_command
from vidfind.errors import BadInput
from vidfind.models.load import load_choice
from vidfind.search.fit import Words, judging, least_score, require_levels
from vidfind.search.kept import Vector
from vidfind.search.like import like_vector, stored_example
from vidfind.search.moments import Asked, Moment, search_moments
from vidfind.search.query import QueryEncoder, combined
from vidfind.search.question.expression import NO_WORDS, WITHIN, Example, Expression, negation, plain_words
from vidfind.search.question.filters import LIMIT, NO_FILTERS, Filters
from vidfind.search.refine import refine_moment, refine_sequence
from vidfind.search.sequence import Step, search_sequences
from vidfind.search.tagged import named_segments
from vidfind.store.folder import levels_file, require_index
from vidfind.store.places.path import IndexPath, index_path, state_of_file
from vidfind.store.settings import SETTINGS_FILE, read_generation
from vidfind.store.store import Store
from vidfind.system.files import fingerprint, state_of
from vidfind.system.paths import DEFAULT_INDEX
from vidfind.words.half import owner_words
from vidfind.words.levels import Levels, read_levels

if TYPE_CHECKING:
    import numpy.typing as npt

    from vidfind.encoders.encoder import EncoderLoader

log = logging.getLogger(__name__)
KEPT_EXAMPLES = 16
SAMPLE = 2000
"""So many segments tell how much similarities differ in an index: 0.0271 instead of 0.0273 among 100,000."""


class Searcher:
    """Answers queries in one index. Models are loaded once, and changes by other processes are noticed.

    >>> from vidfind import Filters, Searcher
    >>> searcher = Searcher()
    >>> for moment in searcher.find("a red circle", limit=2):
    ...     print(moment.rank, moment.path.name)
    1 clip-...mp4
    2 clip-...mp4

    Keep it for many queries: the first takes a second or so, later ones a fraction of that. Filters narrow a search:

    >>> searcher.find("a red circle", Filters(folder="~/Videos", min_score=0.99))
    []
    """

    def __init__(
        self,
        index: str | IndexPath = DEFAULT_INDEX,
        load_encoder: EncoderLoader = load_choice,
        announce: Callable[[str], None] = log.info,
        repeats_remarks: bool = False,
    ) -> None:
        """`index` is the name of an index, or its folder as a Path. `announce` gets a line before a download begins.
        With `repeats_remarks`, a warning about a query comes with each such query, and not only with the first.

        Raises IndexNotFound, IndexDamaged, IndexMismatch for an index of a newer vidfind, BadInput for what cannot be
        a name."""
        self.path = index_path(index) if isinstance(index, str) else index
        """The folder of the index."""
        self._load_encoder, self._announce = load_encoder, announce
        self._lock = threading.Lock()
        self._repeats_remarks, self._has_remarked = repeats_remarks, False
        self._open()

    def _open(self) -> None:
        require_index(self.path)
        self._state = state_of_file(self.path / SETTINGS_FILE)
        self._generation = read_generation(self.path)
        self._store: Store | None = None
        self._sampled = -1
        """How many segments there were when the sample was taken."""
        self._sample: npt.NDArray[np.float32]
        self._examples: dict[tuple[Example, tuple[int, int] | None], tuple[Vector, str]] = {}
        """Vectors of pictures and videos that were looked for last, and the fingerprints of their files."""
        self._levels_state: tuple[float, float] | None = None
        self._known_levels: Levels | None = None
        self.encoder = QueryEncoder(
            self.path, self._generation, self._load_encoder, self._announce, self._repeats_remarks
        )

    @property
    def store(self) -> Store:
        """The index. Opened when it is first needed, which takes a part of a second."""
        with self._lock:
            if self._store is None:
                self._store = Store.open(self.path, self._generation, copied=True)
            return self._store

    @property
    def owner_words(self) -> list[str]:
        """The words that fine-tuning has taught the model of the index."""
        return owner_words(self.path, self._generation)

    def prepare(self) -> None:
        """Loads now what the first query needs. Raises the errors of `find`."""
        self._open_ahead()
        self.encoder.prepare()
        self.store.read_ahead()

    def read_ahead(self, typed: str) -> None:
        """Begins to read the words of a query while it is typed; returns at once."""
        self.encoder.read_ahead(typed)

    def require_match(self) -> None:
        """Raises BadInput, with the remedy, if the match of words is not known in this index."""
        self._follow_changes()
        require_levels(self.store, self._levels())

    def look(self, example: Example) -> None:
        """Makes the vector of a picture or video now, for the searches that will ask for the like of it.

        Raises the errors of `find`. May be called while another thread searches."""
        self._example(example)

    def find(
        self,
        query: str | Expression | None,
        filters: Filters = NO_FILTERS,
        limit: int = LIMIT,
        *,
        refine: bool = False,
    ) -> list[Moment]:
        """The `limit` best moments for a query in plain words, or for an expression, best first.

        >>> from vidfind import Expression, Searcher
        >>> expression = Expression("a red circle", without=["a star"], like=["~/Videos/clip-03.mp4@1.5"])
        >>> Searcher().find(expression, limit=1)[0].path.name
        'clip-...mp4'

        None in place of a query: the moments with the tags and classes of `filters`, the most typical first.

        `refine`: look at the files again, to tell where each moment begins and ends more finely than by segments. That
        takes seconds for each moment, and the whole model.

        A moment of a video in the index is looked for by its stored vector: its file need not be there. Other pictures
        and videos are read, for which the whole model is loaded. What an expression is to be like is left out, in
        copies of the video too. The first query takes a second or so, in which the model's text half is loaded.

        Raises BadInput for an empty query, a file that is neither a picture nor a video, a time outside the video, an
        index without videos, or a folder without indexed videos; ModelUnavailable if the model is not here and cannot
        be downloaded; IndexNotFound if the index was deleted meanwhile."""
        self._follow_changes()
        if query is None:
            return self._find_named(filters, limit, refine)
        expression = Expression(query) if isinstance(query, str) else query
        self._open_ahead()
        self._remark(expression)
        steps, asked = self._read(expression)
        levels, words = self._levels(), _words_of(expression, steps)
        if filters.min_match:
            if not words:
                raise BadInput(NO_WORDS)
            require_levels(self.store, levels)
        judge = judging(self.store, words, levels, filters)
        if len(steps) == 1:
            filters = least_score(filters, words, levels)
            moments = search_moments(self.store, steps[0].vector, filters, limit, asked, judge)
        else:
            within = WITHIN if expression.within is None else expression.within
            moments = search_sequences(self.store, steps, within, filters, limit, asked, judge)
        if not moments and not self.store.count_videos():
            raise BadInput(f"The index {self.path.name!r} holds no videos yet. Add some: {index_command(self.path)}")
        if not refine:
            return moments
        encoder, length = self.encoder.whole, self.store.settings.segment_length
        if len(steps) == 1:
            return [refine_moment(encoder, steps[0].vector, moment, length) for moment in moments]
        return [refine_sequence(encoder, [step.vector for step in steps], moment, length) for moment in moments]

    def _find_named(self, filters: Filters, limit: int, refine: bool) -> list[Moment]:
        """The moments with the tags and classes of filters, those first that look most as all of them do."""
        if filters.min_match:
            raise BadInput(NO_WORDS)
        named = named_segments(self.store, filters) if filters.names_moments else None
        mean = named.mean(self.store) if named else None
        if mean is None:
            return []
        look = mean - self._sampled_segments().mean(axis=0)
        if np.linalg.norm(look) < 1e-3:  # they are all there is
            look = mean
        vector = look / np.linalg.norm(look)
        judge = judging(self.store, None, None, filters)
        moments = search_moments(self.store, vector, filters, limit, judge=judge)
        if not refine:
            return moments
        encoder, length = self.encoder.whole, self.store.settings.segment_length
        return [refine_moment(encoder, vector, moment, length) for moment in moments]

    def _remark(self, expression: Expression) -> None:
        """Says once that a model does not understand a negation in words."""
        if (word := negation(" . ".join(expression.steps))) and not self._has_remarked:
            self._has_remarked = not self._repeats_remarks
            log.warning("The model does not understand %r: say it as --not TEXT.", word)

    def _read(self, expression: Expression) -> tuple[list[Step], list[Asked]]:
        """The steps of an expression, and the parts of the index that are its examples, and no answers."""
        without = [self.encoder.vector(text) for text in expression.without]
        without += [self._example(example)[0] for example in expression.unlikes]
        likes = [self._example(example) for example in expression.likes]
        steps = []
        for number, text in enumerate(expression.steps):
            named = self._named(text) if plain_words(text) and not expression.literal else None
            words = self.encoder.vector(named.text if named else text, text) if plain_words(text) else None
            look = named.blended(words) if named and words is not None else words
            parts = [look] if look is not None else []
            parts += [vector for vector, _ in likes] if number == 0 else []
            vector = combined(parts, without, self._spread)
            if vector is None:
                raise BadInput(f"{plain_words(text)!r} is both looked for and left out.")
            spread = self._spread(vector) if expression.then else 1.0
            is_known = named is not None or not plain_words(text) or not self.encoder.knows_nothing(text)
            steps.append(Step(vector, spread, plain_words(text), words, is_known))
        return steps, [asked for _, asked in likes]

    def _levels(self) -> Levels | None:
        """The levels that the match of words is counted from; None if they are not known."""
        file = levels_file(self.path, self._generation.number)
        if (state := state_of_file(file)) != self._levels_state:
            self._known_levels, self._levels_state = read_levels(self.path, self._generation), state
        return self._known_levels

    def _named(self, text: str) -> Named | None:
        """The query with the learned classes that it names; None if it names none. A warning tells of them."""
        learned = read_classes(self.store)
        named = named_classes(learned, plain_words(text)) if learned else None
        if named:
            log.warning(
                "The query names what you taught: %s. To search for the words alone: --literal",
                ", ".join(named.classes),
            )
        return named

    def _example(self, example: Example) -> tuple[Vector, Asked]:
        """The vector of a picture or video, and the part of the index that it is itself."""
        if found := stored_example(self.store, example):
            return found
        file, time = example
        if not file.exists():  # said before the model is loaded
            nor = ", and no such video in the index" if time is not None else ""
            raise BadInput(f"There is no file {file}{nor}.")
        length, key = self.store.settings.segment_length, (example, state_of(file))
        if (known := self._examples.get(key)) is None:
            known = like_vector(self.encoder.whole, file, time, length), fingerprint(file)
            if len(self._examples) == KEPT_EXAMPLES:
                del self._examples[next(iter(self._examples))]
            self._examples[key] = known
        vector, digest = known
        return vector, Asked(frozenset(self.store.contents_like(digest)), time, length)

    def _spread(self, vector: Vector) -> float:
        """The standard deviation of the similarities of a vector (D,) to the segments of the index; 1 where all are
        alike."""
        sample = self._sampled_segments()
        spread = float((sample @ vector).std()) if len(sample) else 0.0
        return spread if spread > 1e-6 else 1.0

    def _sampled_segments(self) -> npt.NDArray[np.float32]:
        """The vectors (N, D) of some segments of the index."""
        if self._sampled != (count := self.store.count_segments()):
            self._sampled, self._sample = count, self.store.sample(SAMPLE)
        return self._sample

    def _follow_changes(self) -> None:
        if (
            state_of_file(self.path / SETTINGS_FILE) != self._state
        ):  # another encoding is in use now, or another index, or none
            self._open()

    def _open_ahead(self) -> None:
        """Begins to open the index, which goes on while the query is read."""

        def open_store() -> None:
            with suppress(Exception):  # raised again where the store is used
                assert self.store

        if self._store is None:
            threading.Thread(target=open_store).start()


def _words_of(expression: Expression, steps: Sequence[Step]) -> list[Words] | None:
    """The words of each step; None where they only modify examples."""
    if expression.likes:
        return None
    return [
        Words(step.text, step.words, step.vector is step.words, step.is_known)
        for step in steps
        if step.words is not None
    ]
