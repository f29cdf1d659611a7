"""A state machine of the ledger on real PostgreSQL, beside a small model of what must be true."""

from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from django.db.models import QuerySet
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
from billing.budgets import BudgetSpec, add_budget, create_budget
from billing.credits import add_credit
from billing.database import connect_sync
from billing.expiry import expire_holds
from billing.grants import (
    GrantSpec,
    database_time,
    expire_grants,
    grant_credit,
    void_grant,
)
from billing.holds import Act, Closing, Extension, Outcome
from billing.journal import Journal
from billing.models import BudgetWindow, CreditGrant, Hold
from billing.tick import close_calls
from kernel import clock
from kernel.ids import new_id, new_request_id, random_base62
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
        """Alice's organization with a little credit and a lifetime budget below it.

        ``credit`` is what was granted for this model and is neither used nor taken back.
        """

        requests = Bundle("requests")

        def __init__(self) -> None:
            super().__init__()
            self.acme = make_tenant(random_base62(8), credit_usd="0.0001")
            self.version, self.price = make_price(random_base62(8))
            create_budget(
                org=self.acme.org, limit_nanos=BUDGET_NANOS, period="lifetime", actor="test"
            )
            soft = BudgetSpec("day", limit_tokens=50, key=self.acme.key, is_hard=False)
            add_budget(self.acme.org, soft, actor="test")
            self.journal = Journal(journals, random_base62(8))
            self.credit = CREDIT_NANOS
            self.settled = 0
            self.open: dict[str, int] = {}
            self.final: dict[str, Closing] = {}

        @property
        def held(self) -> int:
            return sum(self.open.values())

        def room(self) -> int:
            return min(self.credit, BUDGET_NANOS - self.settled) - self.held

        def room_for(self, request_id: str) -> int:
            """What an open call may still hold: only credit that was there when it began pays."""
            began_at = Hold.objects.get(request_id=request_id).created_at
            grants = self.open_grants().filter(effective_at__lte=began_at)
            free = sum(
                grant.remaining_nanos - grant.held_nanos
                for grant in grants
                if grant.allowed_models != ["another"]
            )
            return min(free, BUDGET_NANOS - self.settled - self.held)

        @rule(target=requests, amount=st.integers(1, 40_000))
        def hold(self, amount: int) -> str:
            request_id = new_request_id()
            request = hold_request(self.acme, self.version, amount, request_id=request_id)
            self.journal.open_calls([request_id])
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
            fits = request_id in self.open and add <= self.room_for(request_id)

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

        @rule(
            amount=st.integers(1, 50_000),
            kind=st.sampled_from(["paid", "promotional"]),
            priority=st.integers(0, 200),
            scope=st.sampled_from(["every model", "this model", "another model"]),
            ends=st.booleans(),
        )
        def grant(self, amount: int, kind: str, priority: int, scope: str, *, ends: bool) -> None:
            models = {"this model": [self.version.model], "another model": ["another"]}
            spec = GrantSpec(
                amount,
                "for the machine",
                new_id("credit"),
                kind=kind,
                priority=priority,
                allowed_models=models.get(scope),
                expires_at=clock.now() + timedelta(days=1) if ends else None,
            )
            grant_credit(self.acme.org, spec, actor="test")
            if scope != "another model":
                self.credit += amount

        @rule()
        def let_a_grant_end(self) -> None:
            """The time of an open grant that no call has reserved on is over."""
            grant = self.open_grants().filter(expires_at__gt=clock.now(), held_nanos=0).first()
            if grant is None:
                return
            self.open_grants().filter(pk=grant.pk).update(expires_at=database_time())
            assert expire_grants() == grant.remaining_nanos
            self.take_back(grant, grant.remaining_nanos)

        @rule()
        def void_a_grant(self) -> None:
            grant = self.open_grants().order_by("-id").first()
            if grant is None:
                return
            free = grant.remaining_nanos - grant.held_nanos
            assert void_grant(self.acme.org, grant.pk, reason="void", actor="test") == free
            self.take_back(grant, free)

        def open_grants(self) -> QuerySet[CreditGrant]:
            return CreditGrant.objects.filter(org=self.acme.org, is_open=True)

        def take_back(self, grant: CreditGrant, nanos: int) -> None:
            if grant.allowed_models != ["another"]:
                self.credit -= nanos

        @rule(
            amount=st.integers(5_000, 20_000),
            outcome=st.sampled_from([Outcome.INTERRUPTED, Outcome.DISCONNECTED]),
        )
        def break_off_and_send_again(self, amount: int, outcome: Outcome) -> None:
            """A keyed call ends half-way and is sent again: paid once where it was our fault."""
            key = new_id("idem")
            first, again = (
                hold_request(self.acme, self.version, amount)._replace(
                    idem_key=key, idem_body="body"
                )
                for _ in range(2)
            )
            if amount > self.room():
                return
            run_tick(database, holds=[first], owner=self.journal.owner)
            half = settlement(first.request_id, self.price, input_tokens=2, output_tokens=1)
            run_tick(database, closings=[replace(half, outcome=outcome)])
            if outcome is not Outcome.INTERRUPTED:
                self.charge(half.charge_nanos)
            fits = amount <= self.room()

            answer = run_tick(database, holds=[again], owner=self.journal.owner)

            assert (answer.held[again.request_id] is None) is fits
            if fits:
                whole = settlement(again.request_id, self.price, input_tokens=2, output_tokens=1)
                run_tick(database, closings=[whole])
                self.charge(whole.charge_nanos)

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
            self.charge(min(closing.charge_nanos, self.open.pop(request_id)))
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
                    self.charge(min(closing.charge_nanos, held))

        def charge(self, nanos: int) -> None:
            self.settled += nanos
            self.credit -= nanos

        @invariant()
        def the_books_show_what_the_model_says(self) -> None:
            account = self.acme.account
            assert account.held_nanos == self.held
            usable = sum(
                grant.remaining_nanos
                for grant in self.open_grants()
                if grant.allowed_models != ["another"]
            )
            assert usable == self.credit
            for window in BudgetWindow.objects.filter(budget__org=self.acme.org):
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
            suppress_health_check=list(HealthCheck),
        ),
    )
