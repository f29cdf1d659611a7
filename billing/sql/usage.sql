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
create table if not exists billing_usageevent_default partition of billing_usageevent default;

-- Make the partitions of this month and p_ahead more; returns how many were missing.
create or replace function make_usage_partitions(p_ahead int) returns int language plpgsql as $$
declare
  v_month timestamp := date_trunc('month', now() at time zone 'UTC');
  v_name text;
  v_made int := 0;
begin
  for i in 0..p_ahead loop
    v_name := 'billing_usageevent_' || to_char(v_month, 'YYYYMM');
    if to_regclass(v_name) is null then
      execute format(
        'create table %I partition of billing_usageevent for values from (%L) to (%L)',
        v_name, v_month at time zone 'UTC', (v_month + interval '1 month') at time zone 'UTC');
      v_made := v_made + 1;
    end if;
    v_month := v_month + interval '1 month';
  end loop;
  return v_made;
end $$;
select make_usage_partitions(2);
