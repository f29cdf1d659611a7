from django.db import migrations

from billing.sql import install

USAGE_COLUMNS = """
alter table billing_usageevent add column if not exists counted_input bigint check (counted_input >= 0);
alter table billing_usageevent add column if not exists counted_output bigint check (counted_output >= 0);
alter table billing_usageevent add column if not exists upstream_nanos bigint check (upstream_nanos >= 0);
create index if not exists usage_by_time on billing_usageevent using brin (occurred_at);
"""

# Signatures that changed: replacing would leave the old ones beside the new.
DROP_OLD = """
drop function if exists extend_hold(text, bigint);
drop function if exists ledger_post_usage(bigint[], timestamptz[], bigint[], bigint[]);
"""

DROP_PATTERN_INDEXES = """
do $$ declare i record; begin
  for i in select indexname from pg_indexes
    where tablename in ('billing_usagereversal') and indexdef like '%varchar_pattern_ops%'
  loop execute format('drop index %I', i.indexname); end loop;
end $$
"""

# What was there before grants becomes one grant an organization, and open holds reserve on it.
OPENING_GRANTS = """
do $$
declare
  v_account record;
  v_hold record;
  v_grant bigint;
  v_free bigint;
  v_take bigint;
begin
  for v_account in select * from billing_billingaccount where deferred_nanos > 0 or held_nanos > 0 loop
    v_grant := null;
    v_free := 0;
    if v_account.deferred_nanos > 0 then
      insert into billing_creditgrant (org_id, kind, source, priority, effective_at, granted_nanos,
        consumed_nanos, held_nanos, expired_nanos, voided_nanos, cost_basis_nanos, reason, created_by,
        created_at, txn_id)
      select v_account.org_id, 'paid', 'opening', 100, to_timestamp(0), v_account.deferred_nanos, 0, 0, 0,
        0, v_account.deferred_nanos, 'balance before grants', 'system', clock_timestamp(), max(t.id)
      from billing_ledgertransaction t where t.org_id = v_account.org_id
      returning id into v_grant;
      v_free := v_account.deferred_nanos;
    end if;
    for v_hold in select * from billing_hold
      where org_id = v_account.org_id and state = 'held' order by created_at, request_id loop
      v_take := least(v_free, v_hold.amount_nanos);
      v_free := v_free - v_take;
      if v_take > 0 then
        update billing_hold set grant_ids = array[v_grant], grant_nanos = array[v_take]
        where request_id = v_hold.request_id;
        update billing_creditgrant set held_nanos = held_nanos + v_take where id = v_grant;
      end if;
      update billing_billingaccount set line_held_nanos = line_held_nanos + v_hold.amount_nanos - v_take
      where org_id = v_account.org_id;
    end loop;
  end loop;
end $$
"""

CHAINS = """
do $$
declare
  v_txn record;
  v_prev bytea;
  v_hash bytea;
  v_org bigint := -1;
begin
  alter table billing_ledgertransaction disable trigger append_only;
  for v_txn in
    select t.*, (select string_agg(concat_ws(':', e.seq, e.account_id, e.amount_nanos), ','
      order by e.seq) from billing_ledgerentry e where e.txn_id = t.id) entries
    from billing_ledgertransaction t order by coalesce(t.org_id, 0), t.id loop
    if coalesce(v_txn.org_id, 0) <> v_org then
      v_org := coalesce(v_txn.org_id, 0);
      v_prev := decode(repeat('00', 32), 'hex');
    end if;
    v_hash := ledger_digest(v_prev, v_txn.id, v_txn.org_id, v_txn.kind, v_txn.idem_key,
      v_txn.effective_at, v_txn.recorded_at, v_txn.reverses_id, v_txn.reason, v_txn.actor,
      v_txn.entries);
    update billing_ledgertransaction set prev_hash = v_prev, hash = v_hash where id = v_txn.id;
    update billing_billingaccount set ledger_head = v_hash where org_id = v_txn.org_id;
    v_prev := v_hash;
  end loop;
  alter table billing_ledgertransaction enable trigger append_only;
end $$
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0004_credit_grants")]
    operations = [
        migrations.RunSQL(USAGE_COLUMNS, migrations.RunSQL.noop),
        migrations.RunSQL(DROP_OLD, migrations.RunSQL.noop),
        migrations.RunSQL(DROP_PATTERN_INDEXES, migrations.RunSQL.noop),
        install("periods"),
        install("ledger"),
        install("grants"),
        install("closing"),
        install("reversals"),
        install("holds"),
        migrations.RunSQL(CHAINS, migrations.RunSQL.noop),
        migrations.RunSQL(OPENING_GRANTS, migrations.RunSQL.noop),
    ]
