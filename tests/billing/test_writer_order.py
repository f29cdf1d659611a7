"""What goes along with what: holds wait for no settlement, and are not refused for want of one."""

from pathlib import Path

from billing.holds import Act, Closing, Extension
from billing.models import UsageEvent
from kernel import clock
from kernel.ids import new_request_id
from tests.billing.test_writer import run, running_writer
from tests.books import assert_proven, settlement
from tests.factories import hold_request, make_price, make_tenant


def test_money_that_a_waiting_settlement_frees_is_there_for_the_next_hold(
    database: str, tmp_path: Path
) -> None:
    acme = make_tenant(credit_usd="0.000006")
    version, price = make_price()
    first = hold_request(acme, version, 5_000)
    second = first._replace(request_id=new_request_id(), amount_nanos=4_000)

    async def work() -> None:
        async with running_writer(database, tmp_path) as (writer, _):
            assert await writer.hold(first) is None
            refused = await writer.hold(second)
            assert refused is not None
            assert refused.why == "credit"
            writer.close(settlement(first.request_id, price, input_tokens=1, output_tokens=0))
            assert await writer.hold(second) is None
            writer.close(Closing(second.request_id, Act.RELEASE))

    run(work())
    assert UsageEvent.objects.count() == 1
    assert_proven(database, tmp_path)


def test_money_that_a_waiting_settlement_frees_is_there_for_an_extension(
    database: str, tmp_path: Path
) -> None:
    acme = make_tenant(credit_usd="0.000008")
    version, _ = make_price()
    stream = hold_request(acme, version, 3_000)
    other = stream._replace(request_id=new_request_id(), amount_nanos=4_000)

    async def work() -> None:
        async with running_writer(database, tmp_path) as (writer, _):
            assert [await writer.hold(stream), await writer.hold(other)] == [None, None]
            writer.close(Closing(other.request_id, Act.RELEASE))
            assert await writer.extend(Extension(stream.request_id, 4_000, 1))
            assert not await writer.extend(Extension(stream.request_id, 4_000, 1))
            writer.close(Closing(stream.request_id, Act.RELEASE))

    run(work())
    assert acme.account.held_nanos == 0
    assert_proven(database, tmp_path)


def test_settlements_are_written_while_holds_come_without_end(
    database: str, tmp_path: Path
) -> None:
    acme = make_tenant()
    version, _ = make_price()

    async def work() -> None:
        async with running_writer(database, tmp_path) as (writer, _):
            ends_at = clock.monotonic() + 2
            most = 0
            while clock.monotonic() < ends_at:
                request = hold_request(acme, version, 5_000)
                assert await writer.hold(request) is None
                writer.close(Closing(request.request_id, Act.RELEASE))
                most = max(most, writer.backlog)
            assert 0 < most < 256, "they wait for a moment, not for a full batch"

    run(work())
    assert acme.account.held_nanos == 0
    assert_proven(database, tmp_path)
