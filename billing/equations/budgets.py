"""Budgets: every window counts exactly the usage within its reach."""

from billing.equations.base import Equation

TOKENS = """u.input + u.cached_input + u.cache_write + u.output + u.reasoning
  + u.audio_input + u.audio_output + u.embedding"""
NOT_REVERSED = """not exists (
  select 1 from billing_usagereversal r where r.request_id = u.request_id)"""

BUDGETS: tuple[Equation, ...] = (
    Equation(
        "I9a",
        "what a budget window has settled equals the usage counted in it",
        f"""select 'budget ' || w.budget_id || ' from ' || w.window_start,
          w.settled_nanos::numeric + w.settled_tokens,
          coalesce(s.settled, 0) + coalesce(s.tokens, 0)
        from billing_budgetwindow w left join (
          select t.budget, t.start, sum(u.amount_nanos) settled,
            sum(least(h.amount_tokens, {TOKENS})) tokens
          from billing_hold h join billing_usageevent u on u.request_id = h.request_id
          cross join lateral unnest(h.budget_ids, h.window_starts) t(budget, start)
          where {NOT_REVERSED} group by 1, 2
        ) s on s.budget = w.budget_id and s.start = w.window_start
        where w.settled_nanos <> coalesce(s.settled, 0)
          or w.settled_tokens <> coalesce(s.tokens, 0)""",  # noqa: S608 # names of our own
    ),
    Equation(
        "I9b",
        "every usage within a budget's reach and time is counted in its window",
        f"""select 'budget ' || w.budget_id || ' from ' || w.window_start,
          w.settled_nanos::numeric + w.settled_tokens,
          sum(u.amount_nanos) + sum(least(h.amount_tokens, {TOKENS}))
        from billing_budgetwindow w join billing_budget b on b.id = w.budget_id
        join billing_usageevent u on u.org_id = b.org_id
          and (b.project_id is null or b.project_id = u.project_id)
          and (b.key_id is null or b.key_id = u.key_id)
          and (b.model = '' or b.model = u.model)
          and u.occurred_at >= greatest(w.window_start, b.effective_from)
          and (w.window_end is null or u.occurred_at < w.window_end)
        join billing_hold h on h.request_id = u.request_id
        where b.active and {NOT_REVERSED}
        group by w.budget_id, w.window_start, w.settled_nanos, w.settled_tokens
        having w.settled_nanos <> sum(u.amount_nanos)
          or w.settled_tokens <> sum(least(h.amount_tokens, {TOKENS}))""",  # noqa: S608 # names of our own
    ),
    Equation(
        "I9c",
        "the windows of a budget never overlap",
        """select 'budget ' || budget_id || ' from ' || window_start,
          extract(epoch from before)::bigint, extract(epoch from window_start)::bigint
        from (select *, max(window_end) over (partition by budget_id order by window_start
          rows between unbounded preceding and 1 preceding) as before from billing_budgetwindow) w
        where before > window_start""",
    ),
    Equation(
        "G1a",
        "no hard budget has settled and held more than it ever allowed in the window",
        """select 'budget ' || w.budget_id || ' from ' || w.window_start, u.used, w.highest_limit
        from billing_budgetwindow w join billing_budget b on b.id = w.budget_id
        cross join lateral (select case when b.limit_tokens is null
          then w.settled_nanos::numeric + w.held_nanos
          else w.settled_tokens::numeric + w.held_tokens end as used) u
        where b.is_hard and b.active and u.used > w.highest_limit""",
    ),
)
