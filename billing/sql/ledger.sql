-- The ledger's door. Nothing else inserts into billing_ledgertransaction and billing_ledgerentry.

-- Entries and transactions are never changed.
create or replace function refuse_change() returns trigger language plpgsql as $$
begin
  raise exception '% is append-only', tg_table_name using errcode = 'restrict_violation';
end $$;

do $$
declare t text;
begin
  foreach t in array array[
    'billing_ledgerentry', 'billing_ledgertransaction', 'accounts_auditevent',
    'billing_priceversion', 'billing_usageevent', 'billing_usageid'] loop
    execute format('drop trigger if exists append_only on %I', t);
    execute format('create trigger append_only before update or delete on %I for each row execute function refuse_change()', t);
    execute format('drop trigger if exists append_only_truncate on %I', t);
    execute format('create trigger append_only_truncate before truncate on %I for each statement execute function refuse_change()', t);
  end loop;
end $$;

-- At commit every transaction must balance in every currency and have two entries or more.
create or replace function assert_balanced(p_txn bigint) returns void language plpgsql as $$
begin
  if exists (
    select 1 from billing_ledgerentry e join billing_ledgeraccount a on a.id = e.account_id
    where e.txn_id = p_txn group by a.currency having sum(e.amount_nanos) <> 0
  ) or (select count(*) from billing_ledgerentry where txn_id = p_txn) < 2 then
    raise exception 'ledger transaction % does not balance', p_txn using errcode = 'check_violation';
  end if;
end $$;
create or replace function check_transaction() returns trigger language plpgsql as $$
begin perform assert_balanced(new.id); return null; end $$;
create or replace function check_entry() returns trigger language plpgsql as $$
begin perform assert_balanced(new.txn_id); return null; end $$;
drop trigger if exists balanced on billing_ledgertransaction;
create constraint trigger balanced after insert on billing_ledgertransaction
  deferrable initially deferred for each row execute function check_transaction();
-- The first entry needs no check of its own: its transaction's covers it.
drop trigger if exists balanced on billing_ledgerentry;
create constraint trigger balanced after insert on billing_ledgerentry
  deferrable initially deferred for each row when (new.seq > 1) execute function check_entry();

-- An organization's own accounts; made with the organization.
create or replace function ledger_open_accounts(p_org bigint) returns void language sql as $$
  insert into billing_ledgeraccount (org_id, code, kind, currency) values
    (p_org, 'deferred_revenue', 'liability', 'USD'),
    (p_org, 'promotional_credit', 'liability', 'USD'),
    (p_org, 'unbilled_receivable', 'asset', 'USD'),
    (p_org, 'receivable', 'asset', 'USD')
  on conflict do nothing
$$;

-- The hash that chains a transaction to the one before it, over everything it says.
create or replace function ledger_digest(
  p_prev bytea, p_id bigint, p_org bigint, p_kind text, p_idem_key text, p_at timestamptz,
  p_recorded timestamptz, p_reverses bigint, p_reason text, p_actor text, p_entries text
) returns bytea language sql stable as $$
  select sha256(p_prev || convert_to(concat_ws(chr(31), p_id, coalesce(p_org, 0), p_kind, p_idem_key,
    (extract(epoch from p_at) * 1000000)::bigint, (extract(epoch from p_recorded) * 1000000)::bigint,
    coalesce(p_reverses, 0), p_reason, p_actor, p_entries), 'UTF8'))
$$;

-- The end of an organization's chain, or of the platform's own; 32 zero bytes where none is begun.
-- Each is a row that whoever posts has locked: an organization's account, the platform's in
-- billing_ledgerchain.
create or replace function ledger_chain_head(p_org bigint) returns bytea language plpgsql as $$
declare v_head bytea;
begin
  if p_org is null then
    insert into billing_ledgerchain (scope, head) values (0, decode(repeat('00', 32), 'hex'))
    on conflict (scope) do update set scope = excluded.scope returning head into v_head;
  else
    select ledger_head into v_head from billing_billingaccount where org_id = p_org for update;
  end if;
  return coalesce(v_head, decode(repeat('00', 32), 'hex'));
end $$;

-- Post one transaction. p_entries: [[account id, nanos], …]; debits are positive, and entries of zero
-- are left out. A second call with the same key returns the first transaction and posts nothing.
create or replace function ledger_post(
  p_org bigint, p_kind text, p_idem_key text, p_at timestamptz, p_entries jsonb,
  p_reason text default '', p_actor text default '', p_reverses bigint default null
) returns bigint language plpgsql as $$
declare
  v_prev bytea := ledger_chain_head(p_org);
  v_txn bigint;
  v_now timestamptz := clock_timestamp();
  v_entries jsonb;
  v_hash bytea;
begin
  select id into v_txn from billing_ledgertransaction
  where org_id = p_org and idem_key = p_idem_key
  union all select id from billing_ledgertransaction
  where p_org is null and org_id is null and idem_key = p_idem_key;
  if found then return v_txn; end if;
  select jsonb_agg(jsonb_build_array(seq, e->0, e->1) order by seq) into v_entries from (
    select e, row_number() over (order by place) seq
    from jsonb_array_elements(p_entries) with ordinality t(e, place) where (e->>1)::bigint <> 0
  ) kept;
  v_txn := nextval(pg_get_serial_sequence('billing_ledgertransaction', 'id'));
  v_hash := ledger_digest(v_prev, v_txn, p_org, p_kind, p_idem_key, p_at, v_now, p_reverses,
    p_reason, p_actor, (select string_agg(concat_ws(':', e->>0, e->>1, e->>2), ',' order by (e->>0)::int)
                        from jsonb_array_elements(v_entries) e));
  insert into billing_ledgertransaction (id, org_id, kind, idem_key, effective_at, recorded_at, period,
    reverses_id, reason, actor, prev_hash, hash)
  overriding system value
  values (v_txn, p_org, p_kind, p_idem_key, p_at, v_now, date_trunc('month', p_at at time zone 'UTC')::date,
    p_reverses, p_reason, p_actor, v_prev, v_hash);
  insert into billing_ledgerentry (txn_id, seq, account_id, amount_nanos)
  select v_txn, (e->>0)::int, (e->>1)::bigint, (e->>2)::bigint from jsonb_array_elements(v_entries) e;
  if p_org is null then
    update billing_ledgerchain set head = v_hash where scope = 0;
  else
    update billing_billingaccount set ledger_head = v_hash where org_id = p_org;
  end if;
  return v_txn;
end $$;

-- Post the usage of one batch: one transaction per row, set at a time, chained by organization. Row i
-- says that organization p_orgs[i] used up p_deferred[i] of its paid credit, p_promotional[i] of what
-- it was given and p_unbilled[i] on account, at p_at[i]. The caller, who has locked the accounts,
-- writes the last hash of each organization to its account.
create or replace function ledger_post_usage(
  p_orgs bigint[], p_at timestamptz[], p_deferred bigint[], p_promotional bigint[],
  p_unbilled bigint[]
) returns table (org_id bigint, at timestamptz, txn_id bigint, hash bytea) language plpgsql as $$
#variable_conflict use_column
begin
  return query
  with recursive numbered as materialized (
    select nextval(pg_get_serial_sequence('billing_ledgertransaction', 'id')) id,
      clock_timestamp() recorded, u.*
    from unnest(p_orgs, p_at, p_deferred, p_promotional, p_unbilled)
      u(org, at, deferred, promotional, unbilled)
  ), entries as materialized (
    -- each account is looked up: a join would go through those of all organizations
    select w.id, s.seq, (select id from billing_ledgeraccount a
      where a.org_id = w.org and a.code = s.code and a.currency = 'USD') account, s.nanos
    from numbered w cross join lateral (values
      (1, 'deferred_revenue', w.deferred),
      (2, 'promotional_credit', w.promotional),
      (3, 'unbilled_receivable', w.unbilled)
    ) s(seq, code, nanos)
    where s.nanos <> 0
    union all
    select id, 4, (select id from billing_ledgeraccount
      where org_id is null and code = 'usage_revenue' and currency = 'USD'),
      -(deferred + promotional + unbilled)
    from numbered where deferred + promotional + unbilled <> 0
  ), told as (
    select w.*, row_number() over (partition by w.org order by w.id) place, e.entries
    from numbered w join (
      select id, string_agg(concat_ws(':', seq, account, nanos), ',' order by seq) entries
      from entries group by id
    ) e using (id)
  ), chain as (
    select t.*, a.ledger_head prev, ledger_digest(a.ledger_head, t.id, t.org, 'usage',
      'usage:' || t.id, t.at, t.recorded, null, '', 'system', t.entries) digest
    from told t join billing_billingaccount a on a.org_id = t.org where t.place = 1
    union all
    select t.*, c.digest, ledger_digest(c.digest, t.id, t.org, 'usage', 'usage:' || t.id, t.at,
      t.recorded, null, '', 'system', t.entries)
    from chain c join told t on t.org = c.org and t.place = c.place + 1
  ), posted as (
    insert into billing_ledgertransaction (id, org_id, kind, idem_key, effective_at, recorded_at,
      period, reason, actor, prev_hash, hash)
    overriding system value
    select id, org, 'usage', 'usage:' || id, at, recorded,
      date_trunc('month', at at time zone 'UTC')::date, '', 'system', prev, digest
    from chain returning id
  ), written as (
    insert into billing_ledgerentry (txn_id, seq, account_id, amount_nanos)
    select id, seq, account, nanos from entries
  )
  select org, chain.at, id, digest from chain;
end $$;
