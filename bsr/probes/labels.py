"""How a task's labels are distributed: the numbers behind a box plot (the study's figures 10 and 11)."""

from __future__ import annotations

from typing import Literal

import numpy as np

from bsr.data.images import labels_in, load_images
from bsr.records.schema import LabelDistribution

WHISKER = 1.5
"""Whiskers reach the last label within this many interquartile ranges of the box."""


def label_distribution(
    dataset: str, folder: str | None, task: str, split: Literal["train", "test"]
) -> LabelDistribution:
    """Quartiles (linear interpolation), whiskers and outliers of a task's labels over a whole split.

    Label units. Raises as bsr.data.images.load_images does, and NamedError for an unknown task.
    """
    labels = labels_in(load_images(dataset, folder), task, split).double().numpy()
    lower, middle, upper = (float(value) for value in np.quantile(labels, (0.25, 0.5, 0.75)))
    reach = WHISKER * (upper - lower)
    inside = labels[(labels >= lower - reach) & (labels <= upper + reach)]
    return LabelDistribution(
        dataset=dataset,
        task=task,
        split=split,
        count=len(labels),
        minimum=float(labels.min()),
        lower_whisker=float(inside.min()),
        lower_quartile=lower,
        median=middle,
        upper_quartile=upper,
        upper_whisker=float(inside.max()),
        maximum=float(labels.max()),
        mean=float(labels.mean()),
        outliers_below=int((labels < lower - reach).sum()),
        outliers_above=int((labels > upper + reach).sum()),
    )
