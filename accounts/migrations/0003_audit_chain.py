import accounts.models
from django.db import migrations, models

# What an event says, in one unambiguous text, after the hash of the event before it.
DIGEST = """
create or replace function audit_digest(e accounts_auditevent) returns bytea language sql stable as $$
  select sha256(e.prev_hash || convert_to(jsonb_build_array(e.id, e.org_id, e.actor, e.action, e.target,
    e.before, e.after, host(e.address), (extract(epoch from e.at) * 1000000)::bigint)::text, 'UTF8'))
$$
"""

# The number is drawn under the lock of the chain's end: numbers and hashes are in one order.
CHAINING = """
create or replace function chain_audit_event() returns trigger language plpgsql as $$
declare v_scope bigint := coalesce(new.org_id, 0);
begin
  insert into accounts_auditchain (scope, head) values (v_scope, decode(repeat('00', 32), 'hex'))
  on conflict (scope) do update set scope = excluded.scope returning head into new.prev_hash;
  new.id := nextval(pg_get_serial_sequence('accounts_auditevent', 'id'));
  new.hash := audit_digest(new);
  update accounts_auditchain set head = new.hash where scope = v_scope;
  return new;
end $$;
drop trigger if exists chained on accounts_auditevent;
create trigger chained before insert on accounts_auditevent
  for each row execute function chain_audit_event()
"""

# Events from before the chain are chained as they stand.
BACKFILL = """
do $$
declare
  v_event accounts_auditevent;
  v_prev bytea;
  v_scope bigint := -1;
begin
  lock table accounts_auditevent in share row exclusive mode;
  alter table accounts_auditevent disable trigger user;
  for v_event in select * from accounts_auditevent order by coalesce(org_id, 0), id loop
    if coalesce(v_event.org_id, 0) <> v_scope then
      v_scope := coalesce(v_event.org_id, 0);
      v_prev := decode(repeat('00', 32), 'hex');
    end if;
    v_event.prev_hash := v_prev;
    v_prev := audit_digest(v_event);
    update accounts_auditevent set prev_hash = v_event.prev_hash, hash = v_prev where id = v_event.id;
    insert into accounts_auditchain (scope, head) values (v_scope, v_prev)
    on conflict (scope) do update set head = excluded.head;
  end loop;
  alter table accounts_auditevent enable trigger user;
end $$
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0002_rate_limits_per_level")]
    operations = [
        migrations.AddField(
            "auditevent",
            "prev_hash",
            models.BinaryField(default=accounts.models.NO_HASH, max_length=32),
        ),
        migrations.AddField(
            "auditevent", "hash", models.BinaryField(default=accounts.models.NO_HASH, max_length=32)
        ),
        migrations.CreateModel(
            "AuditChain",
            [
                ("scope", models.BigIntegerField(primary_key=True, serialize=False)),
                ("head", models.BinaryField(max_length=32)),
            ],
        ),
        migrations.RunSQL(DIGEST, migrations.RunSQL.noop),
        migrations.RunSQL(BACKFILL, migrations.RunSQL.noop),
        migrations.RunSQL(CHAINING, migrations.RunSQL.noop),
    ]
