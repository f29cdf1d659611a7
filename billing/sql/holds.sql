-- The writer's tick: what arrived since the last batch, in one transaction. Settlements first, then
-- extensions, then new holds, so that money given back is there for those who wait.
--
-- 1. lock: holds by id, then billing accounts by organization. Windows and holds belong to one
--    organization, so its account's lock orders everything about it; the time is read after the lock.
-- 2. close: settle, release or expire open holds; usage rows, ledger, counters. A hold that is closed
--    already is left alone (settling twice is settling once); one that never was goes to quarantine.
-- 3. extend: raise an open hold where every level has room.
-- 4. hold: everybody at once where all fit; one by one for organizations where they do not.

do $$ begin
  create type hold_request as (
    ord bigint, r text, org bigint, project bigint, key bigint, model text, pv bigint, amount bigint,
    ttl_s int, idem text, idem_body text, budget_ids bigint[], starts timestamptz[]);
exception when duplicate_object then null; end $$;

-- Close holds. p_close: [{r, act: settle|release|expire, buckets, charge, evidence, outcome, provider,
-- first_token_ms, duration_ms}]; returns [[request id, state or "missing", charged nanos]].
create or replace function close_holds(p_close jsonb, p_now timestamptz) returns jsonb
language plpgsql as $$
declare v_out jsonb;
begin
  with wanted as (
    select * from jsonb_to_recordset(p_close) as t(
      r text, act text, buckets jsonb, charge bigint, evidence text, outcome text, provider text,
      first_token_ms int, duration_ms int)
  ), closed as (
    update billing_hold h set
      state = case w.act when 'settle' then 'settled' when 'release' then 'released' else 'expired' end,
      closed_at = p_now,
      -- a call that came to nothing may be sent again under its key
      idem_key = case w.act when 'settle' then h.idem_key end
    from wanted w where h.request_id = w.r and h.state = 'held'
    returning h.request_id, h.org_id, h.project_id, h.key_id, h.model, h.price_version_id, h.created_at,
      h.amount_nanos as held, h.budget_ids, h.window_starts, w.*,
      case w.act when 'settle' then least(w.charge, h.amount_nanos) else 0 end as charged
  ), totals as (
    -- one ledger transaction per organization and quarter of an hour of usage: months begin on a
    -- quarter in every time zone, so that a transaction is never in two periods
    select org_id, max(created_at) at, sum(charged)::bigint total
    from closed group by org_id, date_bin('15 minutes', created_at, to_timestamp(0))
  ), split as (
    -- credit is used up first, the rest goes on account; earlier usage before later
    select t.org_id, t.at, least(t.total, greatest(a.deferred_nanos - coalesce(sum(t.total) over (
        partition by t.org_id order by t.at rows between unbounded preceding and 1 preceding), 0), 0)
      )::bigint deferred, t.total
    from totals t join billing_billingaccount a on a.org_id = t.org_id where t.total > 0
  ), posted as (
    select p.* from (
      select array_agg(org_id) orgs, array_agg(at) ats, array_agg(deferred) ds,
             array_agg(total - deferred) us from split
    ) s, ledger_post_usage(s.orgs, s.ats, s.ds, s.us) p where s.orgs is not null
  ), usage_rows as (
    insert into billing_usageevent (
      request_id, occurred_at, org_id, project_id, key_id, model, provider, price_version_id,
      input, cached_input, cache_write, output, reasoning, image, audio_input, audio_output,
      embedding, request, evidence, outcome, list_nanos, amount_nanos, ledger_txn_id,
      first_token_ms, duration_ms)
    select c.request_id, c.created_at, c.org_id, c.project_id, c.key_id, c.model, c.provider,
      c.price_version_id,
      coalesce((c.buckets->>'input')::bigint, 0), coalesce((c.buckets->>'cached_input')::bigint, 0),
      coalesce((c.buckets->>'cache_write')::bigint, 0), coalesce((c.buckets->>'output')::bigint, 0),
      coalesce((c.buckets->>'reasoning')::bigint, 0), coalesce((c.buckets->>'image')::bigint, 0),
      coalesce((c.buckets->>'audio_input')::bigint, 0),
      coalesce((c.buckets->>'audio_output')::bigint, 0),
      coalesce((c.buckets->>'embedding')::bigint, 0), coalesce((c.buckets->>'request')::bigint, 0),
      c.evidence, c.outcome, c.charge, c.charged, p.txn_id, c.first_token_ms, c.duration_ms
    from closed c left join posted p on c.charged > 0 and p.org_id = c.org_id
      and date_bin('15 minutes', p.at, to_timestamp(0))
        = date_bin('15 minutes', c.created_at, to_timestamp(0))
    where c.act = 'settle' returning request_id, occurred_at
  ), ids as (
    insert into billing_usageid (request_id, occurred_at) select request_id, occurred_at from usage_rows
  ), windows as (
    update billing_budgetwindow w set
      settled_nanos = w.settled_nanos + q.charged, held_nanos = w.held_nanos - q.held
    from (
      select b.budget, b.start, sum(c.charged)::bigint charged, sum(c.held)::bigint held
      from closed c cross join lateral unnest(c.budget_ids, c.window_starts) b(budget, start)
      group by b.budget, b.start
    ) q where w.budget_id = q.budget and w.window_start = q.start
  ), accounts as (
    update billing_billingaccount a set
      deferred_nanos = a.deferred_nanos - q.deferred,
      unbilled_nanos = a.unbilled_nanos + q.unbilled,
      held_nanos = a.held_nanos - q.held
    from (
      select c.org_id, sum(c.held)::bigint held,
        coalesce((select sum(s.deferred) from split s where s.org_id = c.org_id), 0)::bigint deferred,
        coalesce((select sum(s.total - s.deferred) from split s where s.org_id = c.org_id), 0)::bigint
          unbilled
      from closed c group by c.org_id
    ) q where a.org_id = q.org_id
  )
  select jsonb_agg(jsonb_build_array(w.r,
      case when c.r is not null then
        case c.act when 'settle' then 'settled' when 'release' then 'released' else 'expired' end
      else coalesce('already ' || h.state, 'missing') end,
      coalesce(c.charged, 0)))
  into v_out
  from wanted w left join closed c on c.r = w.r left join billing_hold h on h.request_id = w.r;
  return coalesce(v_out, '[]');
end $$;

-- Raise an open hold by p_add where the account and every hard budget have room for it.
create or replace function extend_hold(p_request text, p_add bigint) returns boolean
language plpgsql as $$
declare v_hold billing_hold;
begin
  select * into v_hold from billing_hold where request_id = p_request and state = 'held';
  if not found or p_add <= 0 then return false; end if;
  if exists (
    select 1 from unnest(v_hold.budget_ids, v_hold.window_starts) t(budget, start)
    join billing_budgetwindow w on w.budget_id = t.budget and w.window_start = t.start
    join billing_budget b on b.id = t.budget
    where b.active and w.settled_nanos + w.held_nanos + p_add > b.limit_nanos
  ) then return false; end if;
  update billing_billingaccount set held_nanos = held_nanos + p_add
  where org_id = v_hold.org_id
    and deferred_nanos + credit_limit_nanos - unbilled_nanos - receivable_nanos - held_nanos >= p_add;
  if not found then return false; end if;
  update billing_budgetwindow w set held_nanos = w.held_nanos + p_add
  from unnest(v_hold.budget_ids, v_hold.window_starts) t(budget, start)
  where w.budget_id = t.budget and w.window_start = t.start;
  update billing_hold set amount_nanos = amount_nanos + p_add where request_id = p_request;
  return true;
end $$;

-- Set the held column of every account and window these admitted requests touch, and write their rows.
create or replace function place_holds(p_requests hold_request[], p_now timestamptz, p_owner text)
returns void language sql as $$
  with n as (select * from unnest(p_requests)),
  a as (
    update billing_billingaccount x set held_nanos = x.held_nanos + q.amount
    from (select org, sum(amount)::bigint amount from n group by org) q where x.org_id = q.org
  ), w as (
    update billing_budgetwindow x set held_nanos = x.held_nanos + q.amount
    from (
      select b.budget, b.start, sum(n.amount)::bigint amount
      from n cross join lateral unnest(n.budget_ids, n.starts) b(budget, start)
      group by b.budget, b.start
    ) q where x.budget_id = q.budget and x.window_start = q.start
  )
  insert into billing_hold (request_id, org_id, project_id, key_id, model, price_version_id,
    amount_nanos, state, created_at, expires_at, owner, idem_key, idem_body, budget_ids,
    window_starts)
  select r, org, project, key, model, pv, amount, 'held', p_now,
    p_now + make_interval(secs => ttl_s), p_owner, idem, idem_body, budget_ids, starts
  from n
$$;

-- Why one request does not fit, or null. Budgets are asked before credit.
create or replace function hold_refusal(p_request hold_request) returns jsonb language plpgsql as $$
declare v_out jsonb;
begin
  select jsonb_build_object('why', 'budget', 'budget', b.id, 'period', b.period,
      'level', case when b.key_id is not null then 'key' when b.project_id is not null then 'project'
               else 'organization' end,
      'limit', b.limit_nanos, 'settled', w.settled_nanos, 'held', w.held_nanos,
      'renews_at', w.window_end, 'needed', p_request.amount)
  into v_out
  from unnest(p_request.budget_ids, p_request.starts) t(budget, start)
  join billing_budgetwindow w on w.budget_id = t.budget and w.window_start = t.start
  join billing_budget b on b.id = t.budget
  where w.settled_nanos + w.held_nanos + p_request.amount > b.limit_nanos
  order by b.limit_nanos - w.settled_nanos - w.held_nanos, b.id limit 1;
  if found then return v_out; end if;
  select jsonb_build_object('why', 'credit', 'needed', p_request.amount, 'available', greatest(0,
      deferred_nanos + credit_limit_nanos - unbilled_nanos - receivable_nanos - held_nanos))
  into v_out from billing_billingaccount
  where org_id = p_request.org
    and deferred_nanos + credit_limit_nanos - unbilled_nanos - receivable_nanos - held_nanos
      < p_request.amount;
  return v_out;
end $$;

-- Admit new holds. p_hold: [{r, org, project, key, model, pv, amount, ttl_s, idem, idem_body}];
-- returns
-- [[request id, null or the refusal]].
create or replace function admit_holds(p_hold jsonb, p_now timestamptz, p_owner text) returns jsonb
language plpgsql as $$
declare
  v_new hold_request[];
  v_refused jsonb := '[]';
  v_tight bigint[];
  v_one hold_request;
  v_why jsonb;
begin
  -- A call that was charged but whose answer was never finished may be sent again too: its key goes
  -- to the new hold, its charge stands for what was relayed.
  if jsonb_path_exists(p_hold, '$[*].idem ? (@ != null)') then
    update billing_hold h set idem_key = null
    from jsonb_to_recordset(p_hold) as n(org bigint, idem text)
    where h.org_id = n.org and h.idem_key = n.idem and h.state = 'settled'
      and not exists (select 1 from billing_idempotentanswer a
                      where a.org_id = h.org_id and a.idem_key = h.idem_key);
  end if;

  -- who may: the key, its organization, and the id must all be good now
  with n as (
    select t.*, row_number() over () ord from jsonb_to_recordset(p_hold) as t(
      r text, org bigint, project bigint, key bigint, model text, pv bigint, amount bigint, ttl_s int,
      idem text, idem_body text)
  ), checked as (
    select n.*, o.timezone, case
      when k.id is null or k.org_id <> n.org or k.project_id <> n.project
        or k.revoked_at <= p_now or k.expires_at <= p_now then 'key'
      when o.status <> 'active' then 'suspended'
      when d.request_id is not null and d.idem_body is distinct from n.idem_body then 'reused'
      when d.request_id is not null then 'duplicate'
      when n.amount <= 0 then 'amount'
      when row_number() over (partition by n.r order by n.ord) > 1 then 'duplicate'
    end why
    from n left join accounts_apikey k on k.id = n.key
    left join accounts_organization o on o.id = n.org
    left join billing_hold d on d.request_id = n.r
      or (n.idem is not null and d.org_id = n.org and d.idem_key = n.idem)
  ), windowed as (
    select c.*, b.budget_ids, b.starts from checked c cross join lateral (
      select coalesce(array_agg(b.id order by b.id), '{}') budget_ids,
             coalesce(array_agg(period_start(b.period, c.timezone, p_now) order by b.id), '{}') starts
      from billing_budget b
      where b.org_id = c.org and b.active and (b.project_id is null or b.project_id = c.project)
        and (b.key_id is null or b.key_id = c.key)
    ) b
  )
  select
    array_agg(row(ord, r, org, project, key, model, pv, amount, ttl_s, idem, idem_body,
      budget_ids,
      starts)::hold_request order by ord) filter (where why is null),
    coalesce(jsonb_agg(jsonb_build_array(r, jsonb_build_object('why', why)))
      filter (where why is not null), '[]')
  into v_new, v_refused from windowed;

  insert into billing_budgetwindow
    (budget_id, window_start, window_end, settled_nanos, held_nanos)
  select distinct on (w.budget, w.start) w.budget, w.start,
    period_end(b.period, o.timezone, p_now), 0, 0
  from unnest(v_new) n cross join lateral unnest(n.budget_ids, n.starts) w(budget, start)
  join billing_budget b on b.id = w.budget join accounts_organization o on o.id = b.org_id
  where not exists (select 1 from billing_budgetwindow x
                    where x.budget_id = w.budget and x.window_start = w.start)
  on conflict do nothing;

  -- organizations where not everybody fits are asked one by one
  select array_agg(distinct org) into v_tight from (
    select n.org from unnest(v_new) n left join billing_billingaccount a on a.org_id = n.org
    group by n.org, a.org_id having a.org_id is null or sum(n.amount) > a.deferred_nanos
      + a.credit_limit_nanos - a.unbilled_nanos - a.receivable_nanos - a.held_nanos
    union
    select b.org_id from unnest(v_new) n
    cross join lateral unnest(n.budget_ids, n.starts) t(budget, start)
    join billing_budget b on b.id = t.budget
    join billing_budgetwindow w on w.budget_id = t.budget and w.window_start = t.start
    group by b.org_id, b.id, b.limit_nanos, w.settled_nanos, w.held_nanos
    having w.settled_nanos + w.held_nanos + sum(n.amount) > b.limit_nanos
  ) tight;

  if v_tight is null then
    perform place_holds(v_new, p_now, p_owner);
    return v_refused || coalesce(
      (select jsonb_agg(jsonb_build_array(r, null)) from unnest(v_new)), '[]');
  end if;

  perform place_holds(
    (select array_agg(n::hold_request) from unnest(v_new) n where not n.org = any(v_tight)),
    p_now, p_owner);
  v_refused := v_refused || coalesce(
    (select jsonb_agg(jsonb_build_array(r, null)) from unnest(v_new) n
     where not n.org = any(v_tight)), '[]');
  foreach v_one in array v_new loop
    continue when not v_one.org = any(v_tight);
    v_why := hold_refusal(v_one);
    if v_why is null then perform place_holds(array[v_one], p_now, p_owner); end if;
    v_refused := v_refused || jsonb_build_array(jsonb_build_array(v_one.r, v_why));
  end loop;
  return v_refused;
end $$;

-- The settings are for the planner. A batch is small and every table but it is large, so the way is
-- always by index; left to guess, it scanned all holds until statistics came (measured: 13 ms against
-- 2 ms for a batch of 16), planned each statement anew (1.1 ms against 4.6 for a batch of one), and
-- compiled plans for longer than they ran.
create or replace function tick(p_close jsonb, p_extend jsonb, p_hold jsonb, p_owner text)
returns jsonb language plpgsql
set jit = off set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_ids text[] := array(select e->>'r' from jsonb_array_elements(p_close || p_extend) e);
  v_now timestamptz;
  v_closed jsonb := '[]';
  v_extended jsonb := '[]';
  v_held jsonb := '[]';
begin
  perform 1 from billing_hold where request_id = any(v_ids) order by request_id for update;
  perform 1 from billing_billingaccount where org_id in (
    select org_id from billing_hold where request_id = any(v_ids)
    union select (e->>'org')::bigint from jsonb_array_elements(p_hold) e
  ) order by org_id for update;
  v_now := clock_timestamp();
  if jsonb_array_length(p_close) > 0 then
    v_closed := close_holds(p_close, v_now);
  end if;
  if jsonb_array_length(p_extend) > 0 then
    select jsonb_agg(jsonb_build_array(e->>'r', extend_hold(e->>'r', (e->>'add')::bigint)))
    into v_extended from jsonb_array_elements(p_extend) e;
  end if;
  if jsonb_array_length(p_hold) > 0 then
    v_held := admit_holds(p_hold, v_now, p_owner);
  end if;
  return jsonb_build_object('closed', v_closed, 'extended', v_extended, 'held', v_held);
end $$;
