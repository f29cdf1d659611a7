-- Whoever puts a settlement into quarantine tells the operators, in the same transaction.
create or replace function tell_quarantine() returns trigger language plpgsql as $$
begin
  insert into billing_outboxevent (org_id, kind, payload, created_at)
  select h.org_id, 'settlement.quarantined', jsonb_build_object('request', new.request_id,
    'reason', new.reason, 'held_nanos', coalesce(h.amount_nanos, 0)::text), clock_timestamp()
  from (values (1)) one left join billing_hold h on h.request_id = new.request_id;
  return null;
end $$;
drop trigger if exists tell_quarantine on billing_quarantine;
create trigger tell_quarantine after insert on billing_quarantine
  for each row execute function tell_quarantine();
