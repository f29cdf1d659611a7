"""The equations of the books, as queries that return the rows that break them.

Each returns nothing when it holds. The numbers are those of the money contract; the gaps belong to
tables that do not exist yet (credit notes, payments, closed periods).
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

# what graduated tiers add to the first price, within one request
_TIERED = """case when p.tiers is null then 0 else (
  select coalesce(sum(greatest(0, (to_jsonb(u)->>t.bucket)::numeric - t.above)
    * (t.nanos - t.before)), 0)
  from (
    select b.key as bucket, (s.step->>0)::numeric as above, (s.step->>1)::numeric as nanos,
      lag((s.step->>1)::numeric, 1, (to_jsonb(p)->>(b.key || '_nanos'))::numeric)
        over (partition by b.key order by s.place) as before
    from jsonb_each(p.tiers) b
    cross join lateral jsonb_array_elements(b.value) with ordinality s(step, place)
  ) t) end"""

_SUMMED = (*BUCKETS, "amount_nanos", "first_token_ms", "duration_ms")
_COUNTED = ("requests", "first_token_count", "duration_count")
_TOKENS = """u.input + u.cached_input + u.cache_write + u.output + u.reasoning
  + u.audio_input + u.audio_output + u.embedding"""
_NOT_REVERSED = """not exists (
  select 1 from billing_usagereversal r where r.request_id = u.request_id)"""
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
          ('promotional_credit', -1, b.promotional_nanos),
          ('receivable', 1, b.receivable_nanos)) s(code, sign, running)
        where s.running <> coalesce(s.sign * (select sum(e.amount_nanos)
          from billing_ledgeraccount a join billing_ledgerentry e on e.account_id = a.id
          where a.org_id = b.org_id and a.code = s.code), 0)""",
    ),
    Equation(
        "I5",
        "no account is beneath its floor",
        """select o.public_id, deferred_nanos + promotional_nanos + credit_limit_nanos
          - unbilled_nanos, held_nanos
        from billing_billingaccount b join accounts_organization o on o.id = b.org_id
        where deferred_nanos < 0 or promotional_nanos < 0 or unbilled_nanos < 0 or held_nanos < 0
          or line_held_nanos < 0
          or (mode = 'prepaid' and deferred_nanos + promotional_nanos < held_nanos)""",
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
        "I6c",
        "what grants and the credit line hold equals what open holds reserved on them",
        """select 'credit ' || g.id, g.held_nanos, coalesce(h.held, 0)
        from billing_creditgrant g left join (
          select t.id, sum(t.nanos) held from billing_hold h
          cross join lateral unnest(h.grant_ids, h.grant_nanos) t(id, nanos)
          where h.state = 'held' group by 1
        ) h on h.id = g.id where g.held_nanos <> coalesce(h.held, 0)
        union all
        select 'credit line of ' || b.org_id, b.line_held_nanos, coalesce(h.held, 0)
        from billing_billingaccount b left join (
          select org_id, sum(amount_nanos - (select coalesce(sum(x), 0) from unnest(grant_nanos) x))
            held from billing_hold where state = 'held' group by 1
        ) h on h.org_id = b.org_id where b.line_held_nanos <> coalesce(h.held, 0)""",
    ),
    Equation(
        "I6b",
        "what a budget window holds equals its open holds",
        """select 'budget ' || w.budget_id || ' from ' || w.window_start,
          w.held_nanos::numeric + w.held_tokens, coalesce(h.held, 0) + coalesce(h.tokens, 0)
        from billing_budgetwindow w left join (
          select t.budget, t.start, sum(h.amount_nanos) held, sum(h.amount_tokens) tokens
          from billing_hold h
          cross join lateral unnest(h.budget_ids, h.window_starts) t(budget, start)
          where h.state = 'held' group by 1, 2
        ) h on h.budget = w.budget_id and h.start = w.window_start
        where w.held_nanos <> coalesce(h.held, 0) or w.held_tokens <> coalesce(h.tokens, 0)""",
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
        f"""select 'budget ' || w.budget_id || ' from ' || w.window_start,
          w.settled_nanos::numeric + w.settled_tokens,
          coalesce(s.settled, 0) + coalesce(s.tokens, 0)
        from billing_budgetwindow w left join (
          select t.budget, t.start, sum(u.amount_nanos) settled,
            sum(least(h.amount_tokens, {_TOKENS})) tokens
          from billing_hold h join billing_usageevent u on u.request_id = h.request_id
          cross join lateral unnest(h.budget_ids, h.window_starts) t(budget, start)
          where {_NOT_REVERSED} group by 1, 2
        ) s on s.budget = w.budget_id and s.start = w.window_start
        where w.settled_nanos <> coalesce(s.settled, 0)
          or w.settled_tokens <> coalesce(s.tokens, 0)""",  # noqa: S608 # names of our own
    ),
    Equation(
        "I9b",
        "every usage within a budget's reach and time is counted in its window",
        f"""select 'budget ' || w.budget_id || ' from ' || w.window_start, w.settled_nanos,
          sum(u.amount_nanos)
        from billing_budgetwindow w join billing_budget b on b.id = w.budget_id
        join billing_usageevent u on u.org_id = b.org_id
          and (b.project_id is null or b.project_id = u.project_id)
          and (b.key_id is null or b.key_id = u.key_id)
          and (b.model = '' or b.model = u.model)
          and u.occurred_at >= greatest(w.window_start, b.effective_from)
          and (w.window_end is null or u.occurred_at < w.window_end)
        where b.active and {_NOT_REVERSED}
        group by w.budget_id, w.window_start, w.settled_nanos
        having w.settled_nanos <> sum(u.amount_nanos)""",  # noqa: S608 # names of our own
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
        from (select u.request_id, u.list_nanos, {_PRICED} + {_TIERED} as total
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
          or (p.org_id is not null and p.org_id <> u.org_id)
          or exists (select 1 from billing_priceversion q where q.model = p.model
            and q.org_id is not distinct from p.org_id and q.id <> p.id
            and q.effective_from > p.effective_from
            and q.effective_from < u.occurred_at - interval '5 minutes')""",
    ),
    Equation(
        "I12",
        "the usage of a transaction is what left the customer's accounts",
        """select 'transaction ' || t.id, coalesce(u.amount, 0), coalesce(e.amount, 0)
        from billing_ledgertransaction t
        left join (select ledger_txn_id, sum(amount_nanos) amount from billing_usagenet
          where ledger_txn_id is not null group by 1) u on u.ledger_txn_id = t.id
        left join (select e.txn_id, sum(e.amount_nanos) amount from billing_ledgerentry e
          join billing_ledgeraccount a on a.id = e.account_id
          where a.org_id is not null group by 1) e on e.txn_id = t.id
        where t.kind in ('usage', 'reversal') and coalesce(u.amount, 0) <> coalesce(e.amount, 0)""",
    ),
    Equation(
        "I13",
        "per organization and month usage equals revenue",
        """select coalesce(u.org_id, e.org_id) || ' ' || coalesce(u.month, e.month),
          u.amount, e.amount
        from (select org_id, date_trunc('month', occurred_at at time zone 'UTC')::date as month,
            sum(amount_nanos) amount from billing_usagenet where amount_nanos <> 0 group by 1, 2) u
        full join (select t.org_id, t.period as month, -sum(e.amount_nanos) amount
          from billing_ledgerentry e join billing_ledgeraccount a on a.id = e.account_id
          join billing_ledgertransaction t on t.id = e.txn_id
          where a.org_id is null and a.code = 'usage_revenue' group by 1, 2) e
          on e.org_id = u.org_id and e.month = u.month
        where u.amount is distinct from e.amount""",
    ),
    Equation(
        "I14",
        "granted is consumed, expired, voided and remaining; consumed is the sum of burns",
        """select 'credit ' || g.id, g.consumed_nanos, coalesce(b.burned, 0)
        from billing_creditgrant g left join (
          select grant_id, sum(amount_nanos) burned from billing_grantburn group by 1
        ) b on b.grant_id = g.id
        where g.consumed_nanos <> coalesce(b.burned, 0) or g.granted_nanos
          < g.consumed_nanos + g.expired_nanos + g.voided_nanos + g.held_nanos""",
    ),
    Equation(
        "I15",
        "what remains of paid and of given grants is the balance of its account",
        """select o.public_id, coalesce(g.paid, 0) + coalesce(g.given, 0),
          b.deferred_nanos::numeric + b.promotional_nanos
        from billing_billingaccount b join accounts_organization o on o.id = b.org_id
        left join (
          select org_id, sum(remaining) filter (where kind = 'paid') paid,
            sum(remaining) filter (where kind = 'promotional') given
          from (select *, granted_nanos - consumed_nanos - expired_nanos - voided_nanos remaining
            from billing_creditgrant) g group by 1
        ) g on g.org_id = b.org_id
        where b.deferred_nanos <> coalesce(g.paid, 0)
          or b.promotional_nanos <> coalesce(g.given, 0)""",
    ),
    Equation(
        "I16a",
        "no burn is outside its grant's time, models or organization",
        """select b.request_id || ' of credit ' || b.grant_id, b.amount_nanos, 0
        from billing_grantburn b join billing_creditgrant g on g.id = b.grant_id
        join billing_usageid i on i.request_id = b.request_id
        join billing_usageevent u
          on u.request_id = i.request_id and u.occurred_at = i.occurred_at
        where u.org_id <> g.org_id or u.occurred_at < g.effective_at
          or u.occurred_at >= g.expires_at
          or not (g.allowed_models is null or u.model = any(g.allowed_models))""",
    ),
    Equation(
        "I16b",
        "what a call burned is its reservations, first to last, up to its charge",
        """select request_id || ' of credit ' || id, burned, due from (
          select h.request_id, t.id,
            coalesce(sum(b.burned), 0) burned, sum(t.due) due
          from billing_hold h join billing_usageevent u on u.request_id = h.request_id
          cross join lateral (
            select r.id, sum(least(r.nanos, greatest(0, u.amount_nanos - r.before))) due
            from (
              select x.id, x.nanos, sum(x.nanos) over (order by x.place) - x.nanos as before
              from unnest(h.grant_ids, h.grant_nanos) with ordinality x(id, nanos, place)
            ) r group by r.id
          ) t
          left join (
            select request_id, grant_id, sum(amount_nanos) burned from billing_grantburn
            where amount_nanos > 0 group by 1, 2
          ) b on b.request_id = h.request_id and b.grant_id = t.id
          where h.state = 'settled' group by 1, 2
        ) s where burned <> due""",
    ),
    Equation(
        "I17",
        "roll-ups, with what is still to be added to them, equal the usage itself",
        f"""select concat_ws(' ', org_id, hour, key_id, model, c.name),
          c.rolled, c.used
        from (select {_GROUP}, {", ".join(f"sum({c}) {c}" for c in (*_COUNTED, *_SUMMED))}
          from billing_usagehour group by {_GROUP}) g
        full join (select org_id, date_trunc('hour', occurred_at, 'UTC') as hour, project_id,
          key_id, model, sum(calls) requests, count(first_token_ms) first_token_count,
          count(duration_ms) duration_count, {", ".join(f"sum({c}) {c}" for c in _SUMMED)}
          from billing_usagenet group by 1, 2, 3, 4, 5) u using ({_GROUP})
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
        from billing_invoice i left join billing_usagenet u on u.org_id = i.org_id
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
        "I25a",
        "every ledger transaction is chained to the one before it, and says what it said",
        """select 'transaction ' || t.id, 1, 0 from (
          select t.*, lag(t.hash, 1, decode(repeat('00', 32), 'hex'))
              over (partition by t.org_id order by t.id) as before,
            e.entries
          from billing_ledgertransaction t left join (
            select txn_id, string_agg(concat_ws(':', seq, account_id, amount_nanos), ','
              order by seq) entries
            from billing_ledgerentry group by 1
          ) e on e.txn_id = t.id
        ) t
        where t.prev_hash <> t.before or t.hash <> ledger_digest(t.prev_hash, t.id, t.org_id,
          t.kind, t.idem_key, t.effective_at, t.recorded_at, t.reverses_id, t.reason, t.actor,
          t.entries)""",
    ),
    Equation(
        "I25b",
        "the last transaction of an organization is the end of its chain",
        """select o.public_id, 1, 0
        from billing_billingaccount b join accounts_organization o on o.id = b.org_id
        left join lateral (
          select hash from billing_ledgertransaction t where t.org_id = b.org_id
          order by id desc limit 1
        ) t on true
        where b.ledger_head <> coalesce(t.hash, decode(repeat('00', 32), 'hex'))""",
    ),
    Equation(
        "Q",
        "nothing is in quarantine",
        """select request_id || ': ' || reason, 1, 0 from billing_quarantine
        where resolved_at is null""",
    ),
)
