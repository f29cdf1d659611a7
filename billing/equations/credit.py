"""Credit: grants add up to balances, and burns to what calls reserved."""

from billing.equations.base import Equation

CREDIT: tuple[Equation, ...] = (
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
        "I27",
        "the payment provider's cash is what top-ups brought, less what went back",
        """select coalesce(o.public_id, 'the platform'), coalesce(l.cash, 0),
          coalesce(t.paid, 0) - coalesce(t.voided, 0) - coalesce(l.lost, 0)
        from (
          select x.org_id, sum(e.amount_nanos) filter (where a.code = 'cash:stripe') cash,
            sum(e.amount_nanos) filter (where a.code = 'platform_loss') lost
          from billing_ledgeraccount a join billing_ledgerentry e on e.account_id = a.id
          join billing_ledgertransaction x on x.id = e.txn_id
          where a.code = 'cash:stripe' or (a.code = 'platform_loss' and x.kind = 'payment_loss')
          group by 1
        ) l full join (
          select t.org_id, sum(t.amount_nanos) paid, sum(g.voided_nanos) voided
          from billing_topup t join billing_creditgrant g on g.id = t.grant_id group by 1
        ) t on t.org_id = l.org_id
        left join accounts_organization o on o.id = coalesce(t.org_id, l.org_id)
        where coalesce(l.cash, 0)
          <> coalesce(t.paid, 0) - coalesce(t.voided, 0) - coalesce(l.lost, 0)""",
    ),
    Equation(
        "G1b",
        "what is owed and held on a credit line is within its limit, but for cents rounded up",
        """select o.public_id,
          b.unbilled_nanos::numeric + b.receivable_nanos + b.line_held_nanos,
          b.credit_limit_nanos + coalesce(i.rounded, 0)
        from billing_billingaccount b join accounts_organization o on o.id = b.org_id
        left join (select org_id, sum(greatest(0, rounding_nanos)) rounded
          from billing_invoice where state = 'final' group by 1) i on i.org_id = b.org_id
        where b.unbilled_nanos::numeric + b.receivable_nanos + b.line_held_nanos
          > b.credit_limit_nanos + coalesce(i.rounded, 0)""",
    ),
    Equation(
        "I16c",
        "no call passed over credit that burns before what it reserved, and was free all the time",
        """with ranked as materialized (
          select g.*, greatest(t.recorded_at, g.created_at) as recorded_at,
            g.granted_nanos - g.consumed_nanos - g.expired_nanos - g.voided_nanos as remaining,
            row_number() over (partition by g.org_id order by g.priority,
              coalesce(cardinality(g.allowed_models), 2147483647),
              coalesce(g.expires_at, 'infinity'), g.kind = 'paid', g.effective_at, g.id) as rank
          from billing_creditgrant g join billing_ledgertransaction t on t.id = g.txn_id
        ), taken as materialized (
          select h.request_id, h.org_id, h.model, h.created_at, h.grant_ids,
            coalesce(h.closed_at, 'infinity') as closed_at, t.place, t.nanos, r.id, r.rank
          from billing_hold h
          cross join lateral unnest(h.grant_ids, h.grant_nanos) with ordinality t(id, nanos, place)
          join ranked r on r.id = t.id
        ), asked as (
          select request_id, org_id, model, created_at, closed_at, grant_ids, place, rank from taken
          union all
          select request_id, org_id, model, created_at, coalesce(closed_at, 'infinity'), grant_ids,
            2147483647, 2147483647 from billing_hold
          where amount_nanos > (select coalesce(sum(x), 0) from unnest(grant_nanos) x)
        ), taken_back as (
          select grant_id, -sum(amount_nanos) nanos from billing_grantburn
          where amount_nanos < 0 group by 1
        ), passed as materialized (
          select a.*, r.id, r.remaining + own.burned - own.reserved - coalesce(b.nanos, 0) as free
          from asked a join ranked r on r.org_id = a.org_id and r.rank < a.rank
            and r.recorded_at <= a.created_at and r.effective_at <= a.created_at
            and (r.expires_at is null or r.expires_at > a.created_at)
            and (r.allowed_models is null or a.model = any(r.allowed_models))
            and (r.remaining > 0 or r.id = any(a.grant_ids))
          left join taken_back b on b.grant_id = r.id
          cross join lateral (select
            coalesce((select sum(x.amount_nanos) from billing_grantburn x
              where x.request_id = a.request_id and x.grant_id = r.id and x.amount_nanos > 0), 0)
              as burned,
            coalesce((select sum(x.nanos) from billing_hold h
              cross join lateral unnest(h.grant_ids, h.grant_nanos)
                with ordinality x(id, nanos, place)
              where h.request_id = a.request_id and x.id = r.id and x.place < a.place), 0)
              as reserved) own
        )
        select p.request_id || ' over credit ' || p.id, p.free, coalesce(o.nanos, 0)
        from passed p cross join lateral (
          select sum(t.nanos) nanos from taken t where t.id = p.id
            and t.request_id <> p.request_id
            and t.created_at <= p.closed_at and t.closed_at >= p.created_at
        ) o where p.free > 0 and p.free > coalesce(o.nanos, 0)""",
    ),
)
