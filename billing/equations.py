"""The equations of the books, as queries that return the rows that break them.

Each returns nothing when it holds. The numbers are those of the money contract; the gaps belong to
tables that do not exist yet (grants, credit notes, payments, hash chains).
"""

from dataclasses import dataclass
from typing import LiteralString

from billing.usage import BUCKETS


@dataclass(frozen=True, slots=True)
class Equation:
    """``query`` returns (what, left, right) for every row where the two sides differ."""

    number: str
    promise: str
    query: LiteralString


_PRICED = " + ".join(f"u.{b}::numeric * p.{b}_nanos" for b in BUCKETS)
# round half to even: x.5 goes to the even neighbour, everything else as round() does
_HALF_EVEN = """case when s.total %% 1000000 = 500000 and floor(s.total / 1000000) %% 2 = 0
  then floor(s.total / 1000000) else round(s.total / 1000000) end"""

_SUMMED = (*BUCKETS, "amount_nanos", "first_token_ms", "duration_ms")
_COUNTED = ("requests", "first_token_count", "duration_count")
_GROUP = "org_id, hour, project_id, key_id, model"

EQUATIONS: tuple[Equation, ...] = (
    Equation(
        "I1",
        "every transaction sums to zero",
        """select 'transaction ' || txn_id, sum(amount_nanos), 0 from billing_ledgerentry
        group by txn_id having sum(amount_nanos) <> 0""",
    ),
    Equation(
        "I2",
        "the trial balance is zero in every currency",
        """select 'trial balance ' || a.currency, sum(e.amount_nanos), 0
        from billing_ledgerentry e join billing_ledgeraccount a on a.id = e.account_id
        group by a.currency having sum(e.amount_nanos) <> 0""",
    ),
    Equation(
        "I3",
        "every transaction has two entries or more, in one currency",
        """select 'transaction ' || t.id, count(e.seq), count(distinct a.currency)
        from billing_ledgertransaction t left join billing_ledgerentry e on e.txn_id = t.id
        left join billing_ledgeraccount a on a.id = e.account_id
        group by t.id having count(e.seq) < 2 or count(distinct a.currency) <> 1""",
    ),
    Equation(
        "I4",
        "running balances equal the sum of their entries",
        """select o.public_id || ' ' || s.code, s.running,
          coalesce(s.sign * (select sum(e.amount_nanos) from billing_ledgeraccount a
            join billing_ledgerentry e on e.account_id = a.id
            where a.org_id = b.org_id and a.code = s.code), 0)
        from billing_billingaccount b join accounts_organization o on o.id = b.org_id
        cross join lateral (values
          ('deferred_revenue', -1, b.deferred_nanos), ('unbilled_receivable', 1, b.unbilled_nanos),
          ('receivable', 1, b.receivable_nanos)) s(code, sign, running)
        where s.running <> coalesce(s.sign * (select sum(e.amount_nanos)
          from billing_ledgeraccount a join billing_ledgerentry e on e.account_id = a.id
          where a.org_id = b.org_id and a.code = s.code), 0)""",
    ),
    Equation(
        "I5",
        "no account is beneath its floor",
        """select o.public_id, deferred_nanos + credit_limit_nanos - unbilled_nanos, held_nanos
        from billing_billingaccount b join accounts_organization o on o.id = b.org_id
        where deferred_nanos < 0 or unbilled_nanos < 0 or held_nanos < 0
          or (mode = 'prepaid' and deferred_nanos < held_nanos)""",
    ),
    Equation(
        "I6a",
        "what an account holds equals its open holds",
        """select o.public_id, b.held_nanos, coalesce(h.held, 0)
        from billing_billingaccount b join accounts_organization o on o.id = b.org_id
        left join (select org_id, sum(amount_nanos) held from billing_hold where state = 'held'
          group by org_id) h on h.org_id = b.org_id
        where b.held_nanos <> coalesce(h.held, 0)""",
    ),
    Equation(
        "I6b",
        "what a budget window holds equals its open holds",
        """select 'budget ' || w.budget_id || ' from ' || w.window_start, w.held_nanos,
          coalesce(h.held, 0)
        from billing_budgetwindow w left join (
          select t.budget, t.start, sum(h.amount_nanos) held from billing_hold h
          cross join lateral unnest(h.budget_ids, h.window_starts) t(budget, start)
          where h.state = 'held' group by 1, 2
        ) h on h.budget = w.budget_id and h.start = w.window_start
        where w.held_nanos <> coalesce(h.held, 0)""",
    ),
    Equation(
        "I7",
        "no open hold is older than its time and five minutes",
        """select request_id, extract(epoch from expires_at)::bigint,
          extract(epoch from now())::bigint
        from billing_hold where state = 'held' and expires_at < now() - interval '5 minutes'""",
    ),
    Equation(
        "I8a",
        "a settled hold has one usage row and, when it cost something, a transaction of its org",
        """select h.request_id, count(u.request_id), count(t.id)
        from billing_hold h left join billing_usageevent u on u.request_id = h.request_id
        left join billing_ledgertransaction t on t.id = u.ledger_txn_id and t.org_id = h.org_id
        where h.state = 'settled' group by h.request_id
        having count(u.request_id) <> 1
          or count(t.id) <> count(u.request_id) filter (where u.amount_nanos > 0)""",
    ),
    Equation(
        "I8b",
        "an open, released or expired hold has no usage, and no usage is without its hold",
        """select u.request_id, 1, 0
        from billing_usageevent u left join billing_hold h on h.request_id = u.request_id
        where h.request_id is null or h.state <> 'settled'""",
    ),
    Equation(
        "I8c",
        "no charge exceeds its hold",
        """select h.request_id, u.amount_nanos, h.amount_nanos
        from billing_usageevent u join billing_hold h on h.request_id = u.request_id
        where u.amount_nanos > h.amount_nanos
          or u.amount_nanos <> least(u.list_nanos, h.amount_nanos)""",
    ),
    Equation(
        "I9a",
        "what a budget window has settled equals the usage counted in it",
        """select 'budget ' || w.budget_id || ' from ' || w.window_start, w.settled_nanos,
          coalesce(s.settled, 0)
        from billing_budgetwindow w left join (
          select t.budget, t.start, sum(u.amount_nanos) settled from billing_hold h
          join billing_usageevent u on u.request_id = h.request_id
          cross join lateral unnest(h.budget_ids, h.window_starts) t(budget, start)
          group by 1, 2
        ) s on s.budget = w.budget_id and s.start = w.window_start
        where w.settled_nanos <> coalesce(s.settled, 0)""",
    ),
    Equation(
        "I9b",
        "every usage within a budget's reach and time is counted in its window",
        """select 'budget ' || w.budget_id || ' from ' || w.window_start, w.settled_nanos,
          sum(u.amount_nanos)
        from billing_budgetwindow w join billing_budget b on b.id = w.budget_id
        join billing_usageevent u on u.org_id = b.org_id
          and (b.project_id is null or b.project_id = u.project_id)
          and (b.key_id is null or b.key_id = u.key_id)
          and u.occurred_at >= greatest(w.window_start, b.effective_from)
          and (w.window_end is null or u.occurred_at < w.window_end)
        where b.active group by w.budget_id, w.window_start, w.settled_nanos
        having w.settled_nanos <> sum(u.amount_nanos)""",
    ),
    Equation(
        "I10",
        "usage ids are unique and none is missing from the table that keeps them so",
        """select coalesce(u.request_id, i.request_id), count(u.request_id), count(i.request_id)
        from billing_usageevent u full join billing_usageid i on i.request_id = u.request_id
        group by 1 having count(u.request_id) <> 1 or count(i.request_id) <> 1""",
    ),
    Equation(
        "I11a",
        "every list amount is price × quantity of its version, rounded half to even",
        f"""select s.request_id, s.list_nanos, {_HALF_EVEN}
        from (select u.request_id, u.list_nanos, {_PRICED} as total
          from billing_usageevent u join billing_priceversion p on p.id = u.price_version_id) s
        where s.list_nanos <> {_HALF_EVEN}""",  # noqa: S608 # column names of our own
    ),
    Equation(
        "I11b",
        "every usage has a price version of its model that was in force",
        """select u.request_id, extract(epoch from u.occurred_at)::bigint,
          extract(epoch from p.effective_from)::bigint
        from billing_usageevent u left join billing_priceversion p on p.id = u.price_version_id
        where p.id is null or p.model <> u.model or p.effective_from > u.occurred_at
          or (p.org_id is not null and p.org_id <> u.org_id)""",
    ),
    Equation(
        "I12",
        "the usage of a transaction is what left the customer's accounts",
        """select 'transaction ' || t.id, coalesce(u.amount, 0), coalesce(e.amount, 0)
        from billing_ledgertransaction t
        left join (select ledger_txn_id, sum(amount_nanos) amount from billing_usageevent
          group by 1) u on u.ledger_txn_id = t.id
        left join (select e.txn_id, sum(e.amount_nanos) amount from billing_ledgerentry e
          join billing_ledgeraccount a on a.id = e.account_id
          where a.org_id is not null group by 1) e on e.txn_id = t.id
        where t.kind = 'usage' and coalesce(u.amount, 0) <> coalesce(e.amount, 0)""",
    ),
    Equation(
        "I13",
        "per organization and month usage equals revenue",
        """select coalesce(u.org_id, e.org_id) || ' ' || coalesce(u.month, e.month),
          u.amount, e.amount
        from (select org_id, date_trunc('month', occurred_at at time zone 'UTC')::date as month,
            sum(amount_nanos) amount from billing_usageevent where amount_nanos > 0 group by 1, 2) u
        full join (select t.org_id, t.period as month, -sum(e.amount_nanos) amount
          from billing_ledgerentry e join billing_ledgeraccount a on a.id = e.account_id
          join billing_ledgertransaction t on t.id = e.txn_id
          where a.org_id is null and a.code = 'usage_revenue' group by 1, 2) e
          on e.org_id = u.org_id and e.month = u.month
        where u.amount is distinct from e.amount""",
    ),
    Equation(
        "I17",
        "roll-ups, with what is still to be added to them, equal the usage itself",
        f"""select concat_ws(' ', org_id, hour, key_id, model, c.name),
          c.rolled, c.used
        from (select {_GROUP}, {", ".join(f"sum({c}) {c}" for c in (*_COUNTED, *_SUMMED))}
          from billing_usagehour group by {_GROUP}) g
        full join (select org_id, date_trunc('hour', occurred_at, 'UTC') as hour, project_id,
          key_id, model, count(*) requests, count(first_token_ms) first_token_count,
          count(duration_ms) duration_count, {", ".join(f"sum({c}) {c}" for c in _SUMMED)}
          from billing_usageevent group by 1, 2, 3, 4, 5) u using ({_GROUP})
        cross join lateral (values
          {", ".join(f"('{c}', g.{c}, u.{c})" for c in (*_COUNTED, *_SUMMED))}
        ) c(name, rolled, used)
        where coalesce(c.rolled, 0) <> coalesce(c.used, 0)""",  # noqa: S608 # names of our own
    ),
    Equation(
        "I18",
        "an invoice series has no gap, no repeat, and is ordered in time",
        """select s.name || ' ' || coalesce(i.number, 0), i.place, s.next_number
        from billing_invoiceseries s left join (
          select series_id, number, issued_at,
            row_number() over (partition by series_id order by number) place,
            lag(issued_at) over (partition by series_id order by number) before,
            count(*) over (partition by series_id) total
          from billing_invoice where state = 'final'
        ) i on i.series_id = s.name
        where (i.number is null and s.next_number <> 1) or i.number <> i.place
          or i.issued_at < i.before or i.total <> s.next_number - 1""",
    ),
    Equation(
        "I19a",
        "an invoice's usage and total are the sums of its lines",
        """select 'invoice ' || i.id, i.usage_nanos, coalesce(l.nanos, 0)
        from billing_invoice i left join (select invoice_id, sum(amount_nanos) nanos,
          sum(amount_cents) cents from billing_invoiceline group by 1) l on l.invoice_id = i.id
        where i.usage_nanos <> coalesce(l.nanos, 0) or i.total_cents <> coalesce(l.cents, 0)""",
    ),
    Equation(
        "I19b",
        "an invoice bills exactly the usage of its organization in its period",
        """select 'invoice ' || i.id, i.usage_nanos, coalesce(sum(u.amount_nanos), 0)
        from billing_invoice i left join billing_usageevent u on u.org_id = i.org_id
          and u.occurred_at >= i.period_start and u.occurred_at < i.period_end
        where i.state = 'final' group by i.id, i.usage_nanos
        having i.usage_nanos <> coalesce(sum(u.amount_nanos), 0)""",
    ),
    Equation(
        "I20",
        "the rounding posted is the cents charged minus the nanos used",
        """select 'invoice ' || i.id, i.rounding_nanos,
          i.due_cents::numeric * 10000000 - (i.usage_nanos - i.prepaid_nanos)
        from billing_invoice i where i.state = 'final'
          and i.rounding_nanos
            <> i.due_cents::numeric * 10000000 - (i.usage_nanos - i.prepaid_nanos)
        union all
        select 'invoice ' || i.id || ' in the ledger', i.rounding_nanos, coalesce((
          select -sum(e.amount_nanos) from billing_ledgerentry e
          join billing_ledgeraccount a on a.id = e.account_id
          where e.txn_id = i.ledger_txn_id and a.code = 'rounding'), 0)
        from billing_invoice i where i.state = 'final' and i.rounding_nanos <> coalesce((
          select -sum(e.amount_nanos) from billing_ledgerentry e
          join billing_ledgeraccount a on a.id = e.account_id
          where e.txn_id = i.ledger_txn_id and a.code = 'rounding'), 0)""",
    ),
    Equation(
        "I21",
        "the hash of a final document is that of its bytes",
        """select 'invoice ' || id, 1, 0 from billing_invoice
        where state = 'final' and (pdf is null or pdf_sha256 <> encode(sha256(pdf), 'hex'))""",
    ),
    Equation(
        "I22",
        "a receivable equals the invoices on it",
        """select 'organization ' || b.org_id, b.receivable_nanos, coalesce(i.due, 0)
        from billing_billingaccount b left join (select org_id,
          sum(due_cents::numeric * 10000000) due from billing_invoice where state = 'final'
          group by 1) i on i.org_id = b.org_id
        where b.receivable_nanos <> coalesce(i.due, 0)""",
    ),
    Equation(
        "Q",
        "nothing is in quarantine",
        """select request_id || ': ' || reason, 1, 0 from billing_quarantine
        where resolved_at is null""",
    ),
)
