"""A state machine of the ledger on real PostgreSQL, beside a small model of what must be true."""

from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
    run_state_machine_as_test,
)

from billing.adoption import adopt_orphans
from billing.budgets import create_budget
from billing.credits import add_credit
from billing.database import connect_sync
from billing.expiry import expire_holds
from billing.holds import Act, Closing, Extension
from billing.journal import Journal
from billing.models import BudgetWindow, Hold
from billing.tick import close_calls
from kernel.ids import new_request_id, random_base62
from tests.books import assert_proven, run_tick, settlement
from tests.factories import hold_request, make_price, make_tenant

CREDIT_NANOS = 100_000
BUDGET_NANOS = 70_000


@dataclass
class Open:
    request_id: str
    amount: int


def ledger_machine(  # noqa: C901 # a machine is its rules, one small method each
    database: str, journals: Path
) -> type[RuleBasedStateMachine]:
    class LedgerMachine(RuleBasedStateMachine):
        """Alice's organization with a little credit and a lifetime budget below it."""

        requests = Bundle("requests")

        def __init__(self) -> None:
            super().__init__()
            self.acme = make_tenant(random_base62(8), credit_usd="0.0001")
            self.version, self.price = make_price(random_base62(8))
            create_budget(
                org=self.acme.org, limit_nanos=BUDGET_NANOS, period="lifetime", actor="test"
            )
            self.journal = Journal(journals, random_base62(8))
            self.credit = CREDIT_NANOS
            self.settled = 0
            self.open: dict[str, int] = {}
            self.final: dict[str, Closing] = {}

        @property
        def held(self) -> int:
            return sum(self.open.values())

        def room(self) -> int:
            return min(self.credit, BUDGET_NANOS) - self.settled - self.held

        @rule(target=requests, amount=st.integers(1, 40_000))
        def hold(self, amount: int) -> str:
            request_id = new_request_id()
            request = hold_request(self.acme, self.version, amount, request_id=request_id)
            self.journal.open_call(request_id)
            expected = amount <= self.room()

            answer = run_tick(database, holds=[request], owner=self.journal.owner)

            assert (answer.held[request_id] is None) is expected
            if expected:
                self.open[request_id] = amount
            return request_id

        @rule(amounts=st.lists(st.integers(1, 30_000), min_size=2, max_size=6))
        def hold_many(self, amounts: list[int]) -> None:
            requests = [hold_request(self.acme, self.version, amount) for amount in amounts]

            answer = run_tick(database, holds=requests, owner=self.journal.owner)

            for request in requests:
                fits = request.amount_nanos <= self.room()
                assert (answer.held[request.request_id] is None) is fits
                if fits:
                    self.open[request.request_id] = request.amount_nanos

        @rule(request_id=requests, add=st.integers(1, 30_000))
        def extend(self, request_id: str, add: int) -> None:
            fits = request_id in self.open and add <= self.room()

            answer = run_tick(database, extensions=[Extension(request_id, add)])

            assert answer.extended == {request_id: fits}
            if fits:
                self.open[request_id] += add

        @rule(request_id=requests, read=st.integers(0, 30), written=st.integers(0, 20))
        def settle(self, request_id: str, read: int, written: int) -> None:
            closing = settlement(request_id, self.price, input_tokens=read, output_tokens=written)
            self.close(closing)

        @rule(request_id=requests)
        def replay(self, request_id: str) -> None:
            if request_id in self.final:
                answer = run_tick(database, closings=[self.final[request_id]])
                assert answer.closed[request_id].startswith("already")

        @rule(request_id=consumes(requests))
        def release(self, request_id: str) -> None:
            self.close(Closing(request_id, Act.RELEASE))

        @rule(request_id=requests)
        def expire(self, request_id: str) -> None:
            if request_id not in self.open:
                return
            Hold.objects.filter(request_id=request_id).update(
                expires_at="2020-01-01T00:00Z", owner="somebody dead"
            )
            with connect_sync(database, "test", statement_timeout_ms=9_000) as books:
                assert expire_holds(books) == 1
            del self.open[request_id]

        @rule(amount=st.integers(1, 50_000))
        def add_credit(self, amount: int) -> None:
            add_credit(self.acme.org, amount, reason="more", actor="test")
            self.credit += amount

        @rule(request_id=requests, read=st.integers(1, 30), is_final=st.booleans())
        def crash_and_adopt(self, request_id: str, read: int, is_final: bool) -> None:  # noqa: FBT001
            """The process dies after a checkpoint or an end; another one finds its journal."""
            if request_id not in self.open:
                return
            closing = settlement(request_id, self.price, input_tokens=read, output_tokens=1)
            (self.journal.close_call if is_final else self.journal.checkpoint)(closing)
            self.abandon_journal()

            with connect_sync(database, "test", statement_timeout_ms=9_000) as books:
                adopted = adopt_orphans(journals, lambda calls: close_calls(books, calls, "test"))

            assert adopted >= 1
            self.settled += min(closing.charge_nanos, self.open.pop(request_id))
            # whatever else the dead process had only opened is given back
            for held in list(self.open):
                if not Hold.objects.filter(request_id=held, state="held").exists():
                    del self.open[held]

        def abandon_journal(self) -> None:
            import os

            os.close(self.journal._current.descriptor)
            self.journal = Journal(journals, random_base62(8))

        def close(self, closing: Closing) -> None:
            request_id = closing.request_id
            was_open = request_id in self.open
            answer = run_tick(database, closings=[closing])
            ended = "settled" if closing.act is Act.SETTLE else "released"
            assert (answer.closed[request_id] == ended) is was_open
            self.journal.mark_done([request_id])
            if was_open:
                held = self.open.pop(request_id)
                self.final[request_id] = closing
                if closing.act is Act.SETTLE:
                    self.settled += min(closing.charge_nanos, held)

        @invariant()
        def the_books_show_what_the_model_says(self) -> None:
            account = self.acme.account
            assert (account.deferred_nanos, account.held_nanos) == (
                self.credit - self.settled,
                self.held,
            )
            window = BudgetWindow.objects.filter(budget__org=self.acme.org).first()
            if window is not None:
                assert (window.settled_nanos, window.held_nanos) == (self.settled, self.held)

        def teardown(self) -> None:
            assert_proven(database, journals)
            self.abandon_journal()
            for path in journals.glob("*.journal"):
                path.unlink()

    return LedgerMachine


def test_no_sequence_of_holds_endings_crashes_and_credit_breaks_the_books(
    database: str, tmp_path: Path
) -> None:
    run_state_machine_as_test(
        ledger_machine(database, tmp_path),
        settings=settings(
            max_examples=25,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
