-- Usage by month. Partitions are made ahead by a task; the default one catches what comes before it ran.
create table if not exists billing_usageevent (
  request_id varchar(40) not null,
  occurred_at timestamptz not null,
  org_id bigint not null,
  project_id bigint not null,
  key_id bigint not null,
  model varchar(200) not null,
  provider varchar(120) not null,
  price_version_id bigint not null,
  input bigint not null default 0 check (input >= 0),
  cached_input bigint not null default 0 check (cached_input >= 0),
  cache_write bigint not null default 0 check (cache_write >= 0),
  output bigint not null default 0 check (output >= 0),
  reasoning bigint not null default 0 check (reasoning >= 0),
  image bigint not null default 0 check (image >= 0),
  audio_input bigint not null default 0 check (audio_input >= 0),
  audio_output bigint not null default 0 check (audio_output >= 0),
  embedding bigint not null default 0 check (embedding >= 0),
  request bigint not null default 0 check (request >= 0),
  evidence varchar(10) not null check (evidence in ('provider', 'counted', 'estimated')),
  outcome varchar(24) not null,
  list_nanos bigint not null check (list_nanos >= 0),
  amount_nanos bigint not null check (amount_nanos >= 0),
  ledger_txn_id bigint references billing_ledgertransaction(id),
  first_token_ms integer,
  duration_ms integer,
  primary key (request_id, occurred_at),
  check (amount_nanos <= list_nanos),
  check ((amount_nanos = 0) = (ledger_txn_id is null))
) partition by range (occurred_at);
create index if not exists usage_by_org on billing_usageevent (org_id, occurred_at);
create index if not exists usage_by_txn on billing_usageevent (ledger_txn_id);
-- What came to more than was held is rare, and asked for every hour.
create index if not exists usage_beyond_hold on billing_usageevent (occurred_at)
  where list_nanos > amount_nanos;
create table if not exists billing_usageevent_default partition of billing_usageevent default;

-- Make the partition of one month. What lies in the default partition already is moved into it: then the
-- new one is a table by itself until it has its rows, because attaching looks for them in the default.
create or replace function make_usage_partition(p_name text, p_from timestamptz, p_to timestamptz)
returns void language plpgsql set lock_timeout = '10s' as $$
begin
  if not exists (select 1 from billing_usageevent_default
                 where occurred_at >= p_from and occurred_at < p_to) then
    execute format('create table %I partition of billing_usageevent for values from (%L) to (%L)',
      p_name, p_from, p_to);
    return;
  end if;
  lock table billing_usageevent_default in access exclusive mode;
  execute format('create table %I (like billing_usageevent including defaults including constraints'
    ' including indexes)', p_name);
  execute format('insert into %I select * from billing_usageevent_default'
    ' where occurred_at >= %L and occurred_at < %L', p_name, p_from, p_to);
  alter table billing_usageevent_default disable trigger append_only;
  delete from billing_usageevent_default where occurred_at >= p_from and occurred_at < p_to;
  alter table billing_usageevent_default enable trigger append_only;
  execute format('alter table billing_usageevent attach partition %I for values from (%L) to (%L)',
    p_name, p_from, p_to);
end $$;

-- Make the partitions of this month and p_ahead more; returns how many were missing and are made. A month
-- that fails warns and keeps none of the others back; the reconciliation names it (R5, R6).
create or replace function make_usage_partitions(p_ahead int) returns int language plpgsql as $$
declare
  v_month timestamp := date_trunc('month', now() at time zone 'UTC');
  v_name text;
  v_made int := 0;
begin
  for i in 0..p_ahead loop
    v_name := 'billing_usageevent_' || to_char(v_month, 'YYYYMM');
    if to_regclass(v_name) is null then
      begin
        perform make_usage_partition(v_name, v_month at time zone 'UTC',
          (v_month + interval '1 month') at time zone 'UTC');
        v_made := v_made + 1;
      exception when others then
        raise warning 'partition % is not made: %', v_name, sqlerrm;
      end;
    end if;
    v_month := v_month + interval '1 month';
  end loop;
  return v_made;
end $$;
select make_usage_partitions(2);
