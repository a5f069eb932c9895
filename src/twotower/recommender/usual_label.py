"""`usual_label`: what an interaction without a label stands for."""

from __future__ import annotations

import numpy as np

from twotower.recommender.state import RecommenderState


def usual_label(recommender: RecommenderState) -> float | None:
    """Return the median label of the positives of the training set; None without labels."""
    labels = recommender.seen_label
    if labels is None or not len(labels):
        return None
    least = recommender.positive.threshold
    if least is not None:
        labels = labels[labels >= least]
    return float(np.median(labels)) if len(labels) else least
