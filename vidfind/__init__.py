"""Search your own videos in plain words.

The names below are the ones to use from Python. Each is imported when it is first used, so that `import vidfind` takes
no time:

    from vidfind import Searcher, index_videos
"""

TYPE_CHECKING = False  # type checkers take it for true; to import it from typing takes ten times as long as all here
if TYPE_CHECKING:  # for type checkers and editors; what runs is `__getattr__`
    from vidfind.cluster.options import ClusterOptions as ClusterOptions
    from vidfind.encoders.encoder import Encoder as Encoder
    from vidfind.encoders.names import EncoderChoice as EncoderChoice
    from vidfind.encoders.stream import EncodedVideo as EncodedVideo
    from vidfind.encoders.stream import FailedVideo as FailedVideo
    from vidfind.encoders.stream import Progress as Progress
    from vidfind.encoders.stream import encode_videos as encode_videos
    from vidfind.errors import BadInput as BadInput
    from vidfind.errors import BadPairs as BadPairs
    from vidfind.errors import BrokenInstallation as BrokenInstallation
    from vidfind.errors import ClusterError as ClusterError
    from vidfind.errors import DecoderLost as DecoderLost
    from vidfind.errors import DeviceMissing as DeviceMissing
    from vidfind.errors import IndexBusy as IndexBusy
    from vidfind.errors import IndexDamaged as IndexDamaged
    from vidfind.errors import IndexMismatch as IndexMismatch
    from vidfind.errors import IndexNotFound as IndexNotFound
    from vidfind.errors import ModelUnavailable as ModelUnavailable
    from vidfind.errors import StorageError as StorageError
    from vidfind.errors import UnreadableVideo as UnreadableVideo
    from vidfind.errors import UnsupportedModel as UnsupportedModel
    from vidfind.errors import Unusable as Unusable
    from vidfind.errors import VidfindError as VidfindError
    from vidfind.index.events import Outcome as Outcome
    from vidfind.index.named import index_videos as index_videos
    from vidfind.index.named import watch_videos as watch_videos
    from vidfind.index.options import IndexOptions as IndexOptions
    from vidfind.index.watch import Watching as Watching
    from vidfind.models.load import load_encoder as load_encoder
    from vidfind.models.saved_adapters import SavedAdapter as SavedAdapter
    from vidfind.models.saved_adapters import list_adapters as list_adapters
    from vidfind.search.moments import LookAlike as LookAlike
    from vidfind.search.moments import Moment as Moment
    from vidfind.search.moments import MomentStep as MomentStep
    from vidfind.search.question.expression import Example as Example
    from vidfind.search.question.expression import Expression as Expression
    from vidfind.search.question.filters import Filters as Filters
    from vidfind.search.searcher import Searcher as Searcher
    from vidfind.training.evaluate import Verdict as Verdict
    from vidfind.training.evaluate import evaluate as evaluate
    from vidfind.training.finetune import FineTuning as FineTuning
    from vidfind.training.pairs import Pair as Pair
    from vidfind.training.pairs import read_pairs as read_pairs
    from vidfind.training.recipe import Recipe as Recipe

__version__ = "0.1.0"

_NAMES = {
    "vidfind.search.searcher": ["Searcher"],
    "vidfind.search.question.expression": ["Expression", "Example"],
    "vidfind.search.question.filters": ["Filters"],
    "vidfind.search.moments": ["Moment", "MomentStep", "LookAlike"],
    "vidfind.index.named": ["index_videos", "watch_videos"],
    "vidfind.index.options": ["IndexOptions"],
    "vidfind.cluster.options": ["ClusterOptions"],
    "vidfind.index.events": ["Outcome"],
    "vidfind.index.watch": ["Watching"],
    "vidfind.models.load": ["load_encoder"],
    "vidfind.encoders.names": ["EncoderChoice"],
    "vidfind.encoders.encoder": ["Encoder"],
    "vidfind.encoders.stream": ["encode_videos", "EncodedVideo", "FailedVideo", "Progress"],
    "vidfind.models.saved_adapters": ["list_adapters", "SavedAdapter"],
    "vidfind.training.pairs": ["read_pairs", "Pair"],
    "vidfind.training.finetune": ["FineTuning"],
    "vidfind.training.recipe": ["Recipe"],
    "vidfind.training.evaluate": ["evaluate", "Verdict"],
    "vidfind.errors": [
        "VidfindError",
        "UnreadableVideo",
        "DecoderLost",
        "ModelUnavailable",
        "UnsupportedModel",
        "IndexNotFound",
        "IndexMismatch",
        "IndexDamaged",
        "IndexBusy",
        "StorageError",
        "ClusterError",
        "BadInput",
        "BadPairs",
        "Unusable",
        "DeviceMissing",
        "BrokenInstallation",
    ],
}
"""The public names by the modules that define them."""
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}
__all__ = ["__version__", *_MODULE_OF]


if not TYPE_CHECKING:  # a type checker would take any name, also a mistyped one, for one that is there

    def __getattr__(name: str) -> object:
        """Imports a public name when it is first used (PEP 562)."""
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import importlib

        value = globals()[name] = getattr(importlib.import_module(_MODULE_OF[name]), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
