"""Holds: what is set aside is what open holds say, and each ended hold became what it should."""

from billing.equations.base import Equation

HOLDS: tuple[Equation, ...] = (
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
)
