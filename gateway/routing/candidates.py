"""The order in which a call asks the deployments of its model."""

import hashlib
import math
from collections.abc import Sequence

from gateway.catalog import Deployment


def order_candidates(deployments: Sequence[Deployment], request_id: str) -> list[Deployment]:
    """Return the deployments by priority, and by lot within one: twice the weight, twice as often.

    The lot is drawn from the request's id, so a call's order can be told afterwards. Each gets an
    exponential time with its weight as rate; the earliest goes first (Efraimidis and Spirakis,
    "Weighted random sampling with a reservoir", 2006).
    """
    if len(deployments) == 1:
        return list(deployments)
    return sorted(deployments, key=lambda each: (each.priority, _lot(each, request_id)))


def _lot(deployment: Deployment, request_id: str) -> float:
    seed = f"{request_id}\n{deployment.provider}\n{deployment.upstream_model}".encode()
    drawn = int.from_bytes(hashlib.blake2b(seed, digest_size=6).digest())
    return -math.log((drawn + 1) / 2**48) / deployment.weight
