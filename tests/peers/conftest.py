"""A server that is not ours, started once for the tests of a file."""

from collections.abc import Iterator

import pytest

from tests.peers.litellm_proxy import Peer, open_peer
from tests.stage import House, house, stage

__all__ = ["house", "stage"]


@pytest.fixture(scope="module")
def peer(house: House) -> Iterator[Peer]:
    with open_peer(house) as opened:
        yield opened
