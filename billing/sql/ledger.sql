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

-- Post one transaction. p_entries: [[account id, nanos], …]; debits are positive, and entries of zero
-- are left out. A second call with the same key returns the first transaction and posts nothing.
create or replace function ledger_post(
  p_org bigint, p_kind text, p_idem_key text, p_at timestamptz, p_entries jsonb,
  p_reason text default '', p_actor text default '', p_reverses bigint default null
) returns bigint language plpgsql as $$
declare v_txn bigint;
begin
  insert into billing_ledgertransaction
    (org_id, kind, idem_key, effective_at, recorded_at, period, reverses_id, reason, actor)
  values (p_org, p_kind, p_idem_key, p_at, clock_timestamp(),
          date_trunc('month', p_at at time zone 'UTC')::date, p_reverses, p_reason, p_actor)
  on conflict (org_id, idem_key) do nothing returning id into v_txn;
  if v_txn is null then
    select id into strict v_txn from billing_ledgertransaction
    where org_id is not distinct from p_org and idem_key = p_idem_key;
    return v_txn;
  end if;
  insert into billing_ledgerentry (txn_id, seq, account_id, amount_nanos)
  select v_txn, row_number() over (), (e->>0)::bigint, (e->>1)::bigint
  from jsonb_array_elements(p_entries) e where (e->>1)::bigint <> 0;
  return v_txn;
end $$;

-- Post the usage of one batch: one transaction per organization, set at a time. Row i says that
-- organization p_orgs[i] used up p_deferred[i] of its credit and p_unbilled[i] on account, at p_at[i].
create or replace function ledger_post_usage(
  p_orgs bigint[], p_at timestamptz[], p_deferred bigint[], p_unbilled bigint[]
) returns table (org_id bigint, at timestamptz, txn_id bigint) language plpgsql as $$
#variable_conflict use_column
begin
  return query
  with want as (
    select nextval(pg_get_serial_sequence('billing_ledgertransaction', 'id')) id, u.*
    from unnest(p_orgs, p_at, p_deferred, p_unbilled) u(org, at, deferred, unbilled)
  ), posted as (
    insert into billing_ledgertransaction
      (id, org_id, kind, idem_key, effective_at, recorded_at, period, reason, actor)
    overriding system value
    select id, org, 'usage', 'usage:' || id, at, clock_timestamp(),
           date_trunc('month', at at time zone 'UTC')::date, '', 'system'
    from want returning id
  ), entries as (
    insert into billing_ledgerentry (txn_id, seq, account_id, amount_nanos)
    select w.id, s.seq, a.id, s.nanos from want w
    cross join lateral (values
      (1, w.org, 'deferred_revenue', w.deferred),
      (2, w.org, 'unbilled_receivable', w.unbilled),
      (3, null::bigint, 'usage_revenue', -(w.deferred + w.unbilled))
    ) s(seq, org, code, nanos)
    join billing_ledgeraccount a
      on a.org_id is not distinct from s.org and a.code = s.code and a.currency = 'USD'
    where s.nanos <> 0
  )
  select org, want.at, id from want;
end $$;
