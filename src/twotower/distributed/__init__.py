"""Ray: training, evaluation and recommendations on several processes and machines."""

from twotower.distributed.cluster import Ray

__all__ = ["Ray"]
