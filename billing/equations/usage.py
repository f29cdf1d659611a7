"""Usage: counted once, priced by its version, and equal to what moved in the ledger."""

from billing.equations.base import Equation
from billing.usage import BUCKETS

_PRICED = " + ".join(f"u.{b}::numeric * p.{b}_nanos" for b in BUCKETS)
# round half to even: x.5 goes to the even neighbour, everything else as round() does
_HALF_EVEN = """case when s.total %% 100000000 = 50000000 and floor(s.total / 100000000) %% 2 = 0
  then floor(s.total / 100000000) else round(s.total / 100000000) end"""
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
_GROUP = "org_id, hour, project_id, key_id, model"

USAGE: tuple[Equation, ...] = (
    Equation(
        "I10",
        "usage ids are unique and none is missing from the table that keeps them so",
        """select coalesce(u.request_id, i.request_id), count(u.request_id), count(i.request_id)
        from billing_usageevent u full join billing_usageid i on i.request_id = u.request_id
        group by 1 having count(u.request_id) <> 1 or count(i.request_id) <> 1""",
    ),
    Equation(
        "I11a",
        "every list amount is price × quantity of its version, of an answer out of the cache its"
        " share in per cent, rounded half to even",
        f"""select s.request_id, s.list_nanos, {_HALF_EVEN}
        from (select u.request_id, u.list_nanos,
            ({_PRICED} + {_TIERED}) * coalesce(u.cache_percent, 100) as total
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
            and q.effective_from < u.occurred_at - interval '30 seconds')""",
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
          where a.org_id is null and a.code = 'usage_revenue' and t.kind <> 'write_off'
          group by 1, 2) e
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
          key_id, model, sum(calls) requests, count(first_token_ms) first_token_count,
          count(duration_ms) duration_count, {", ".join(f"sum({c}) {c}" for c in _SUMMED)}
          from billing_usagenet group by 1, 2, 3, 4, 5) u using ({_GROUP})
        cross join lateral (values
          {", ".join(f"('{c}', g.{c}, u.{c})" for c in (*_COUNTED, *_SUMMED))}
        ) c(name, rolled, used)
        where coalesce(c.rolled, 0) <> coalesce(c.used, 0)""",  # noqa: S608 # names of our own
    ),
    Equation(
        "I28",
        "what was written off in the ledger is what dismissals from quarantine say",
        """select coalesce(q.request_id, l.idem_key), coalesce(l.lost, 0),
          coalesce(q.written_off_nanos, 0)
        from (
          select t.idem_key, sum(e.amount_nanos) filter (where a.code = 'platform_loss') lost
          from billing_ledgertransaction t join billing_ledgerentry e on e.txn_id = t.id
          join billing_ledgeraccount a on a.id = e.account_id
          where t.kind = 'write_off' group by 1
        ) l full join (select * from billing_quarantine where written_off_nanos <> 0) q
          on l.idem_key = 'write_off:' || q.request_id
        where coalesce(l.lost, 0) <> coalesce(q.written_off_nanos, 0)""",
    ),
    Equation(
        "Q",
        "nothing is in quarantine",
        """select request_id || ': ' || reason, 1, 0 from billing_quarantine
        where resolved_at is null""",
    ),
)
