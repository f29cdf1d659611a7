"""What the hourly reconciliation recounts: counters against rows, of what moved since a moment.

The same questions as the proof's, bounded: rows are read through the time of usage, windows reach
back 40 days at most, and what nobody used in the last hours is left to the proof. Each query takes
``%(since)s`` and returns nothing when its promise holds.
"""

from billing.equations import EQUATIONS, Equation
from billing.equations.budgets import NOT_REVERSED, TOKENS
from billing.usage import BUCKETS

# Asked of tables that do not grow with usage.
_OF_THE_PROOF = ("I5", "I6a", "I6b", "I6c", "I7", "I15", "Q")
_SUMMED = ("requests", *BUCKETS, "amount_nanos")

RECOUNTS: tuple[Equation, ...] = (
    *(equation for equation in EQUATIONS if equation.number in _OF_THE_PROOF),
    Equation(
        "R1",
        "what an open budget window has settled is the usage counted in it",
        f"""with moved as (
          select distinct org_id from billing_usageevent where occurred_at >= %(since)s
        ), windows as (
          select w.*, b.org_id, greatest(w.window_start, b.effective_from) as begins
          from billing_budgetwindow w join billing_budget b on b.id = w.budget_id
          join moved m on m.org_id = b.org_id
          where b.active and (w.window_end is null or w.window_end > %(since)s)
            and greatest(w.window_start, b.effective_from) > now() - interval '40 days'
        ), counted as (
          select t.budget, t.start, sum(u.amount_nanos) settled,
            sum(least(h.amount_tokens, {TOKENS})) tokens
          from billing_usageevent u join billing_hold h on h.request_id = u.request_id
          cross join lateral unnest(h.budget_ids, h.window_starts) t(budget, start)
          where u.occurred_at >= (select min(begins) from windows)
            and u.org_id in (select org_id from windows) and {NOT_REVERSED} group by 1, 2
        )
        select 'budget ' || w.budget_id || ' from ' || w.window_start,
          w.settled_nanos::numeric + w.settled_tokens,
          coalesce(c.settled, 0) + coalesce(c.tokens, 0)
        from windows w left join counted c
          on c.budget = w.budget_id and c.start = w.window_start
        where w.settled_nanos <> coalesce(c.settled, 0)
          or w.settled_tokens <> coalesce(c.tokens, 0)""",  # noqa: S608 # names of our own
    ),
    Equation(
        "R2",
        "what a grant has paid lately is the sum of its burns",
        """select 'credit ' || g.id, g.consumed_nanos, coalesce(sum(b.amount_nanos), 0)
        from billing_creditgrant g left join billing_grantburn b on b.grant_id = g.id
        where g.id in (select unnest(h.grant_ids) from billing_usageevent u
          join billing_hold h on h.request_id = u.request_id
          where u.occurred_at >= %(since)s)
        group by g.id, g.consumed_nanos
        having g.consumed_nanos <> coalesce(sum(b.amount_nanos), 0)""",
    ),
    Equation(
        "R3",
        "the usage of a late transaction is what left the customer's accounts",
        """with late as (
          select distinct ledger_txn_id id from billing_usageevent
          where occurred_at >= %(since)s and ledger_txn_id is not null
        )
        select 'transaction ' || l.id, coalesce(u.amount, 0), coalesce(e.amount, 0)
        from late l
        left join lateral (select sum(amount_nanos) amount from billing_usagenet
          where ledger_txn_id = l.id) u on true
        left join lateral (select sum(e.amount_nanos) amount from billing_ledgerentry e
          join billing_ledgeraccount a on a.id = e.account_id
          where e.txn_id = l.id and a.org_id is not null) e on true
        where coalesce(u.amount, 0) <> coalesce(e.amount, 0)""",
    ),
    Equation(
        "R4",
        "the roll-ups of the last hours, with what is still to be added, are the usage itself",
        f"""select concat_ws(' ', 'organization', org_id, hour, c.name), c.rolled, c.used
        from (select org_id, hour, {", ".join(f"sum({c}) {c}" for c in _SUMMED)}
          from billing_usagehour where hour >= date_trunc('hour', %(since)s::timestamptz, 'UTC')
          group by 1, 2) g
        full join (select org_id, date_trunc('hour', occurred_at, 'UTC') as hour,
          sum(calls) requests, {", ".join(f"sum({c}) {c}" for c in _SUMMED[1:])}
          from billing_usagenet
          where occurred_at >= date_trunc('hour', %(since)s::timestamptz, 'UTC')
          group by 1, 2) u using (org_id, hour)
        cross join lateral (values {", ".join(f"('{c}', g.{c}, u.{c})" for c in _SUMMED)}
        ) c(name, rolled, used)
        where coalesce(c.rolled, 0) <> coalesce(c.used, 0)""",  # noqa: S608 # names of our own
    ),
    Equation(
        "R5",
        "every usage lies in the partition of its month",
        """select 'usage of ' || to_char(occurred_at at time zone 'UTC', 'YYYY-MM')
          || ' in no partition, first ' || min(request_id), count(*), 0
        from billing_usageevent_default
        group by to_char(occurred_at at time zone 'UTC', 'YYYY-MM')""",
    ),
    Equation(
        "R6",
        "the partitions of this month and of the next two are there",
        """select 'partition ' || name, 0, 1 from (
          select 'billing_usageevent_' || to_char(date_trunc('month', now() at time zone 'UTC')
            + make_interval(months => ahead), 'YYYYMM') as name
          from generate_series(0, 2) ahead
        ) wanted where to_regclass(name) is null""",
    ),
    Equation(
        "R7",
        "no event waits in the outbox and no delivery is overdue",
        """select 'event ' || min(id) || ' and later, undispatched', count(*), 0
        from billing_outboxevent
        where dispatched_at is null and created_at < now() - interval '10 minutes'
        having count(*) > 0
        union all
        select 'delivery ' || min(id) || ' and later, overdue', count(*), 0
        from billing_delivery where state = 'due' and next_at < now() - interval '1 hour'
        having count(*) > 0""",
    ),
    Equation(
        "R8",
        "of the calls of the last hour no more than one in a thousand expired",
        """select 'calls expired in the last hour', h.expired, h.ended + u.settled
        from (select count(*) filter (where state = 'expired') expired, count(*) ended
          from billing_hold where state in ('released', 'expired')
            and closed_at >= now() - interval '1 hour') h
        cross join (select count(*) settled from billing_usageevent
          where occurred_at >= now() - interval '1 hour') u
        where h.expired * 1000 > h.ended + u.settled""",
    ),
    Equation(
        "R9",
        "no call settled since the last run came to more than was held; what did is our loss",
        """with last as (
          -- a settlement may commit a while after its time: a minute is longer than any may take
          select coalesce(max(at - make_interval(secs => duration_ms / 1000 + 61)), %(since)s) as at
          from billing_reconciliationrun
        )
        select concat_ws(' ', count(*), 'calls of', u.provider, u.model, 'from', min(u.request_id)),
          sum(u.list_nanos), sum(u.amount_nanos)
        from last l join billing_usageevent u on u.list_nanos > u.amount_nanos
          and u.occurred_at >= l.at - interval '40 days'
        join billing_hold h on h.request_id = u.request_id and h.closed_at >= l.at
        group by u.provider, u.model""",
    ),
    Equation(
        "R10",
        "while the hourly recount runs, so does the proof: no two hours without one that ended",
        """select 'proofs since ' || r.at, 0, 1
        from (select max(at) as at from billing_reconciliationrun
          where at > now() - interval '190 minutes' and at < now() - interval '2 hours') r
        where r.at is not null
          and not exists (select 1 from billing_proofrun p where p.at > r.at)""",
    ),
)
