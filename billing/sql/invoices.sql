-- A final invoice is frozen: the database refuses every edit of it and of its lines.
create or replace function refuse_final_invoice() returns trigger language plpgsql as $$
begin
  if old.state = 'final' then
    raise exception 'invoice % is final', old.id using errcode = 'restrict_violation';
  end if;
  return case tg_op when 'DELETE' then old else new end;
end $$;
drop trigger if exists final_is_frozen on billing_invoice;
create trigger final_is_frozen before update or delete on billing_invoice
  for each row execute function refuse_final_invoice();

create or replace function refuse_final_line() returns trigger language plpgsql as $$
declare v_invoice bigint := case tg_op when 'INSERT' then new.invoice_id else old.invoice_id end;
begin
  if exists (select 1 from billing_invoice where id = v_invoice and state = 'final') then
    raise exception 'invoice % is final', v_invoice using errcode = 'restrict_violation';
  end if;
  return case tg_op when 'DELETE' then old else new end;
end $$;
drop trigger if exists final_is_frozen on billing_invoiceline;
create trigger final_is_frozen before insert or update or delete on billing_invoiceline
  for each row execute function refuse_final_line();
