-- Reversals: the charge of a call that runs anew taken back, exactly as it was made.

-- Reverse the charge of a call whose answer the platform broke off or did not keep, because p_by runs it
-- anew. Does nothing for a call that its caller left, that was reversed before, or whose share on
-- account is on an invoice already. The caller holds the account's lock.
create or replace function reverse_usage(p_request text, p_by text, p_now timestamptz) returns boolean
language plpgsql as $$
declare
  u billing_usageevent;
  v_paid bigint;
  v_promotional bigint;
  v_line bigint;
  v_txn bigint;
begin
  select e.* into u from billing_usageid i join billing_usageevent e
    on e.request_id = i.request_id and e.occurred_at = i.occurred_at
  where i.request_id = p_request and e.outcome <> 'disconnected';
  if not found or exists (select 1 from billing_usagereversal where request_id = p_request) then
    return false;
  end if;
  select coalesce(sum(b.amount_nanos) filter (where g.kind = 'paid'), 0),
    coalesce(sum(b.amount_nanos) filter (where g.kind = 'promotional'), 0)
  into v_paid, v_promotional
  from billing_grantburn b join billing_creditgrant g on g.id = b.grant_id
  where b.request_id = p_request;
  v_line := u.amount_nanos - v_paid - v_promotional;
  if v_line > (select unbilled_nanos from billing_billingaccount where org_id = u.org_id) then
    return false;
  end if;

  if u.amount_nanos > 0 then
    v_txn := ledger_post(u.org_id, 'reversal', 'reversal:' || p_request, p_now, (
      select jsonb_agg(jsonb_build_array(a.id, case a.code
        when 'deferred_revenue' then -v_paid when 'promotional_credit' then -v_promotional
        when 'unbilled_receivable' then -v_line else u.amount_nanos end) order by a.org_id, a.id)
      from billing_ledgeraccount a where a.currency = 'USD' and (
        a.org_id = u.org_id
          and a.code in ('deferred_revenue', 'promotional_credit', 'unbilled_receivable')
        or a.org_id is null and a.code = 'usage_revenue')),
      'no answer to give again, run as ' || p_by, 'system');
    update billing_billingaccount set deferred_nanos = deferred_nanos + v_paid,
      promotional_nanos = promotional_nanos + v_promotional, unbilled_nanos = unbilled_nanos - v_line
    where org_id = u.org_id;
    update billing_creditgrant g set consumed_nanos = g.consumed_nanos - q.nanos from (
      select grant_id, sum(amount_nanos)::bigint nanos from billing_grantburn
      where request_id = p_request group by 1) q where g.id = q.grant_id;
    insert into billing_grantburn (grant_id, txn_id, request_id, amount_nanos)
    select grant_id, v_txn, request_id, -sum(amount_nanos) from billing_grantburn
    where request_id = p_request group by grant_id, request_id;
  end if;
  update billing_budgetwindow w set settled_nanos = w.settled_nanos - u.amount_nanos,
    settled_tokens = w.settled_tokens - least(h.amount_tokens, u.input + u.cached_input
      + u.cache_write + u.output + u.reasoning + u.audio_input + u.audio_output + u.embedding)
  from billing_hold h cross join lateral unnest(h.budget_ids, h.window_starts) t(budget, start)
  where h.request_id = p_request and w.budget_id = t.budget and w.window_start = t.start;
  insert into billing_usagereversal (request_id, by_request_id, reversed_at, org_id, project_id, key_id,
    model, provider, price_version_id, input, cached_input, cache_write, output, reasoning, image,
    audio_input, audio_output, embedding, request, amount_nanos, ledger_txn_id,
    cache_percent)
  values (p_request, p_by, p_now, u.org_id, u.project_id, u.key_id, u.model, u.provider,
    u.price_version_id, u.input, u.cached_input, u.cache_write, u.output, u.reasoning, u.image,
    u.audio_input, u.audio_output, u.embedding, u.request, u.amount_nanos, v_txn,
    u.cache_percent);
  insert into billing_usagetail
  select org_id, date_trunc('hour', p_now, 'UTC'), project_id, key_id, model, -1, -input,
    -cached_input, -cache_write, -output, -reasoning, -image, -audio_input, -audio_output, -embedding,
    -request, -amount_nanos, 0, 0, 0, 0
  from billing_usagereversal where request_id = p_request;
  return true;
end $$;
