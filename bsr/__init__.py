"""Is the batch size affecting the performance of regression CNNs? A benchmark suite that measures it.

Nothing happens at import: public names load when first used (PEP 562), so that a report needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final, NoReturn

if TYPE_CHECKING:
    from bsr.data.images import ImageData, Split, load_split
    from bsr.engines import train
    from bsr.experiments import EXPERIMENTS, PRESETS
    from bsr.model import MODELS, RegressionCNN
    from bsr.records.reading import read
    from bsr.result import Result
    from bsr.run import Execution, Run
    from bsr.tasks import TASKS
    from bsr.writing import write
    from reports.one_figure import draw

__version__ = "0.1.0"
__all__ = [
    "EXPERIMENTS",
    "MODELS",
    "PRESETS",
    "TASKS",
    "Execution",
    "ImageData",
    "RegressionCNN",
    "Result",
    "Run",
    "Split",
    "draw",
    "load_split",
    "read",
    "train",
    "write",
]

_HOME: Final = {
    "EXPERIMENTS": "bsr.experiments",
    "PRESETS": "bsr.experiments",
    "TASKS": "bsr.tasks",
    "MODELS": "bsr.model",
    "Execution": "bsr.run",
    "ImageData": "bsr.data.images",
    "RegressionCNN": "bsr.model",
    "Result": "bsr.result",
    "Run": "bsr.run",
    "Split": "bsr.data.images",
    "draw": "reports.one_figure",
    "load_split": "bsr.data.images",
    "read": "bsr.records.reading",
    "train": "bsr.engines",
    "write": "bsr.writing",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'bsr' has no attribute {name!r}; it has {', '.join(__all__)}")
    try:
        home = import_module(_HOME[name])
    except ModuleNotFoundError as error:
        if error.name != "reports":
            raise
        return _outside_of_a_checkout
    return getattr(home, name)


def _outside_of_a_checkout(*_arguments: object, **_options: object) -> NoReturn:
    """What bsr.draw is where the report is not."""
    raise ImportError(
        "bsr.draw: expected the folder `reports` of a checkout of bsr, got an installed package without it; "
        "run this in a checkout, or put one on PYTHONPATH"
    )


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
