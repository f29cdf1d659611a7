-- Closing holds: what a call came to, in usage rows, ledger, grants and counters at once.

-- Tokens of a usage as budgets count them: everything read and written, media by its own tokens.
create or replace function usage_tokens(p_buckets jsonb) returns bigint language sql immutable as $$
  select coalesce((p_buckets->>'input')::bigint, 0) + coalesce((p_buckets->>'cached_input')::bigint, 0)
    + coalesce((p_buckets->>'cache_write')::bigint, 0) + coalesce((p_buckets->>'output')::bigint, 0)
    + coalesce((p_buckets->>'reasoning')::bigint, 0) + coalesce((p_buckets->>'audio_input')::bigint, 0)
    + coalesce((p_buckets->>'audio_output')::bigint, 0)
    + coalesce((p_buckets->>'embedding')::bigint, 0)
$$;

-- p_close: [{r, act: settle|release|expire, buckets, charge, evidence, outcome, provider,
-- first_token_ms, duration_ms, counted_input, counted_output, upstream, cache_percent}]; returns
-- [[request id, state or "missing"]].
create or replace function close_holds(p_close jsonb, p_now timestamptz) returns jsonb
language plpgsql as $$
declare
  v_out jsonb;
  v_budgets bigint[];
  v_starts timestamptz[];
begin
  with wanted as (
    select * from jsonb_to_recordset(p_close) as t(
      r text, act text, buckets jsonb, charge bigint, evidence text, outcome text, provider text,
      first_token_ms int, duration_ms int, counted_input bigint, counted_output bigint,
      upstream bigint, cache_percent smallint)
  ), found as (
    -- one by one by their ids, whatever the planner knows of the table: it would go through all open
    -- holds by their own index, or through all there are
    select w.*, h.place from wanted w
    cross join lateral (select ctid place from billing_hold where request_id = w.r offset 0) h
  ), closed as (
    update billing_hold h set
      state = case w.act when 'settle' then 'settled' when 'release' then 'released' else 'expired' end,
      closed_at = p_now,
      -- a call that came to nothing may be sent again under its key
      idem_key = case w.act when 'settle' then h.idem_key end
    from found w where h.ctid = w.place and h.state is not distinct from 'held'
    returning h.request_id, h.org_id, h.project_id, h.key_id, h.model, h.price_version_id, h.created_at,
      -- one ledger transaction per organization and quarter of an hour of usage: months begin on a
      -- quarter in every time zone, so that a transaction is never in two periods
      date_bin('15 minutes', h.created_at, to_timestamp(0)) as quarter,
      h.amount_nanos as held, h.amount_tokens as held_tokens, h.budget_ids, h.window_starts,
      h.grant_ids, h.grant_nanos, w.*,
      case w.act when 'settle' then least(w.charge, h.amount_nanos) else 0 end as charged,
      case w.act when 'settle' then least(usage_tokens(w.buckets), h.amount_tokens) else 0 end
        as tokens
  ), reserved as (
    -- the charge burns what the hold reserved, first to last
    select c.request_id, c.org_id, c.quarter, t.grant_id, t.place, t.nanos,
      least(t.nanos, greatest(0, c.charged - sum(t.nanos) over (
        partition by c.request_id order by t.place) + t.nanos))::bigint as burned
    from closed c
    cross join lateral unnest(c.grant_ids, c.grant_nanos) with ordinality t(grant_id, nanos, place)
  ), burned as (
    select r.request_id, r.org_id, r.quarter, r.grant_id, g.kind, min(r.place) place,
      sum(r.burned)::bigint nanos
    from reserved r join billing_creditgrant g on g.id = r.grant_id
    where r.burned > 0 group by 1, 2, 3, 4, 5
  ), split as (
    select t.org_id, t.at, coalesce(p.deferred, 0) deferred, coalesce(p.promotional, 0) promotional,
      t.total - coalesce(p.deferred, 0) - coalesce(p.promotional, 0) unbilled
    from (
      select org_id, quarter, max(created_at) at, sum(charged)::bigint total from closed
      group by 1, 2
    ) t left join (
      select org_id, quarter, sum(nanos) filter (where kind = 'paid')::bigint deferred,
        sum(nanos) filter (where kind = 'promotional')::bigint promotional
      from burned group by 1, 2
    ) p using (org_id, quarter)
    where t.total > 0
  ), posted as (
    select p.*, date_bin('15 minutes', p.at, to_timestamp(0)) as quarter from (
      select array_agg(org_id) orgs, array_agg(at) ats, array_agg(deferred) ds,
        array_agg(promotional) ps, array_agg(unbilled) us from split
    ) s, ledger_post_usage(s.orgs, s.ats, s.ds, s.ps, s.us) p where s.orgs is not null
  ), usage_rows as (
    insert into billing_usageevent (
      request_id, occurred_at, org_id, project_id, key_id, model, provider, price_version_id,
      input, cached_input, cache_write, output, reasoning, image, audio_input, audio_output,
      embedding, request, evidence, outcome, list_nanos, amount_nanos, ledger_txn_id,
      first_token_ms, duration_ms, counted_input, counted_output, upstream_nanos, cache_percent)
    select c.request_id, c.created_at, c.org_id, c.project_id, c.key_id, c.model, c.provider,
      c.price_version_id,
      coalesce((c.buckets->>'input')::bigint, 0), coalesce((c.buckets->>'cached_input')::bigint, 0),
      coalesce((c.buckets->>'cache_write')::bigint, 0), coalesce((c.buckets->>'output')::bigint, 0),
      coalesce((c.buckets->>'reasoning')::bigint, 0), coalesce((c.buckets->>'image')::bigint, 0),
      coalesce((c.buckets->>'audio_input')::bigint, 0),
      coalesce((c.buckets->>'audio_output')::bigint, 0),
      coalesce((c.buckets->>'embedding')::bigint, 0), coalesce((c.buckets->>'request')::bigint, 0),
      c.evidence, c.outcome, c.charge, c.charged, p.txn_id, c.first_token_ms, c.duration_ms,
      c.counted_input, c.counted_output, c.upstream, c.cache_percent
    from closed c left join posted p on c.charged > 0 and p.org_id = c.org_id
      and p.quarter = c.quarter
    where c.act = 'settle' returning request_id, occurred_at
  ), ids as (
    insert into billing_usageid (request_id, occurred_at) select request_id, occurred_at from usage_rows
  ), grants as (
    update billing_creditgrant g set
      consumed_nanos = g.consumed_nanos + q.burned, held_nanos = g.held_nanos - q.reserved
    from (
      select grant_id, sum(burned)::bigint burned, sum(nanos)::bigint reserved from reserved
      group by 1
    ) q where g.id = q.grant_id
  ), burns as (
    insert into billing_grantburn (grant_id, txn_id, request_id, amount_nanos)
    select b.grant_id, p.txn_id, b.request_id, b.nanos
    from burned b join posted p on p.org_id = b.org_id and p.quarter = b.quarter
    order by b.request_id, b.place
  ), windows as (
    update billing_budgetwindow w set
      settled_nanos = w.settled_nanos + q.charged, held_nanos = w.held_nanos - q.held,
      settled_tokens = w.settled_tokens + q.tokens, held_tokens = w.held_tokens - q.held_tokens
    from (
      select b.budget, b.start, sum(c.charged)::bigint charged, sum(c.held)::bigint held,
        sum(c.tokens)::bigint tokens, sum(c.held_tokens)::bigint held_tokens
      from closed c cross join lateral unnest(c.budget_ids, c.window_starts) b(budget, start)
      group by b.budget, b.start
    ) q where w.budget_id = q.budget and w.window_start = q.start
    returning w.budget_id, w.window_start
  ), accounts as (
    update billing_billingaccount a set
      deferred_nanos = a.deferred_nanos - q.deferred,
      promotional_nanos = a.promotional_nanos - q.promotional,
      unbilled_nanos = a.unbilled_nanos + q.unbilled,
      held_nanos = a.held_nanos - q.held,
      line_held_nanos = a.line_held_nanos - q.line_held,
      ledger_head = coalesce(q.head, a.ledger_head),
      low_balance_noted = a.low_balance_noted or q.is_low
    from (
      select c.org_id, c.held, c.line_held, coalesce(s.deferred, 0) deferred,
        coalesce(s.promotional, 0) promotional, coalesce(s.unbilled, 0) unbilled, h.head,
        coalesce(b.deferred_nanos + b.promotional_nanos - s.deferred - s.promotional + greatest(0,
            b.credit_limit_nanos - b.unbilled_nanos - s.unbilled - b.receivable_nanos)
          < b.low_balance_nanos, false) is_low,
        b.low_balance_noted was_noted
      from (
        select org_id, sum(held)::bigint held,
          sum(held - (select coalesce(sum(n), 0) from unnest(grant_nanos) n))::bigint line_held
        from closed group by 1
      ) c
      left join (
        select org_id, sum(deferred)::bigint deferred, sum(promotional)::bigint promotional,
          sum(unbilled)::bigint unbilled from split group by 1
      ) s on s.org_id = c.org_id
      left join (
        select distinct on (org_id) org_id, hash head from posted order by org_id, txn_id desc
      ) h on h.org_id = c.org_id
      join billing_billingaccount b on b.org_id = c.org_id
    ) q where a.org_id = q.org_id
    returning a.org_id, q.is_low and not q.was_noted as is_news,
      a.deferred_nanos + a.promotional_nanos + greatest(0, a.credit_limit_nanos - a.unbilled_nanos
        - a.receivable_nanos) as balance, a.low_balance_nanos
  ), low_balances as (
    insert into billing_outboxevent (org_id, kind, payload, created_at)
    select org_id, 'balance.low', jsonb_build_object('balance_nanos', balance::text,
      'threshold_nanos', low_balance_nanos::text), p_now
    from accounts where is_news
  )
  -- looked up in hashes: a join of two batches without an index is quadratic
  select jsonb_agg(jsonb_build_array(w.r,
      case when w.r in (select r from closed where act = 'settle') then 'settled'
        when w.r in (select r from closed where act = 'release') then 'released'
        when w.r in (select r from closed) then 'expired'
        else coalesce(
          (select 'already ' || state from billing_hold where request_id = w.r), 'missing') end)),
    (select array_agg(budget_id) from windows), (select array_agg(window_start) from windows)
  into v_out, v_budgets, v_starts from wanted w;
  if v_budgets is not null then perform note_budget_alerts(v_budgets, v_starts); end if;
  return coalesce(v_out, '[]');
end $$;

-- What an event of a reached threshold says.
create or replace function budget_reached(b billing_budget, w billing_budgetwindow, p_percent int,
  p_used bigint) returns jsonb language sql stable as $$
  select jsonb_build_object('budget', (b).id, 'percent', p_percent,
    'unit', case when (b).limit_tokens is null then 'nanos' else 'tokens' end,
    'used', p_used::text, 'limit', coalesce((b).limit_tokens, (b).limit_nanos)::text,
    'window_start', (w).window_start, 'window_end', (w).window_end)
$$;

-- Tell of thresholds that these windows' settled use has reached for the first time. A threshold is
-- told once a window; raising a limit well above the use arms it again (billing/budgets.py).
create or replace function note_budget_alerts(p_budgets bigint[], p_starts timestamptz[]) returns int
language plpgsql as $$
declare v_told int;
begin
  with reached as (
    select w.budget_id, w.window_start, t.percent, u.used
    from unnest(p_budgets, p_starts) n(budget, start)
    join billing_budgetwindow w on w.budget_id = n.budget and w.window_start = n.start
    join billing_budget b on b.id = w.budget_id
    cross join lateral (select
      case when b.limit_tokens is null then w.settled_nanos else w.settled_tokens end as used,
      coalesce(b.limit_tokens, b.limit_nanos) as limit_amount) u
    cross join lateral unnest(b.alert_percents) t(percent)
    where b.active and u.used > 0 and u.used::numeric * 100 >= u.limit_amount::numeric * t.percent
  ), told as (
    insert into billing_budgetalert (budget_id, window_start, percent, told_at)
    select budget_id, window_start, percent, clock_timestamp() from reached
    on conflict do nothing returning budget_id, window_start, percent
  )
  insert into billing_outboxevent (org_id, kind, payload, created_at)
  select b.org_id, 'budget.threshold_reached', budget_reached(b, w, t.percent, r.used),
    clock_timestamp()
  from told t join reached r using (budget_id, window_start, percent)
  join billing_budget b on b.id = t.budget_id
  join billing_budgetwindow w on w.budget_id = t.budget_id and w.window_start = t.window_start;
  get diagnostics v_told = row_count;
  return v_told;
end $$;
