"""The loops of an api process go on, whatever happens to them."""

import asyncio

import pytest

from gateway.runtime import _repeat


@pytest.mark.parametrize("fault", [KeyError("usage"), ValueError("tiers"), OSError("disk")])
async def test_a_loop_survives_what_nobody_foresaw(fault: Exception) -> None:
    faults = [fault, fault]
    went_well = asyncio.Event()

    async def work() -> None:
        if faults:
            raise faults.pop()
        went_well.set()

    loop = asyncio.create_task(_repeat(work, 0.0))
    await asyncio.wait_for(went_well.wait(), timeout=20)
    loop.cancel()

    with pytest.raises(asyncio.CancelledError):
        await loop
