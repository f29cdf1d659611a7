-- Credit grants: what an organization may spend, in the order in which it is spent.
--
-- A hold reserves on named grants, and its charge burns what it reserved: the hold's own moment decides
-- which grants pay, and two calls never count on the same nano.

do $$
declare t text;
begin
  foreach t in array array['billing_grantburn', 'billing_usagereversal'] loop
    execute format('drop trigger if exists append_only on %I', t);
    execute format('create trigger append_only before update or delete on %I for each row execute function refuse_change()', t);
    execute format('drop trigger if exists append_only_truncate on %I', t);
    execute format('create trigger append_only_truncate before truncate on %I for each statement execute function refuse_change()', t);
  end loop;
end $$;

-- What is free on the grants of some organizations that paid for usage at p_at, in the published burn
-- order: priority, narrowest scope, earliest expiry, promotional before paid, earliest effective, id.
-- from_nanos and to_nanos are the grant's place in the sum of all before it.
create or replace function free_grants(p_orgs bigint[], p_at timestamptz, p_model text default null)
returns table (org_id bigint, id bigint, place bigint, is_scoped boolean, from_nanos numeric,
  to_nanos numeric)
language sql stable as $$
  select g.org_id, g.id, row_number() over w, g.allowed_models is not null, sum(g.free) over w - g.free,
    sum(g.free) over w
  from (
    select *, granted_nanos - consumed_nanos - expired_nanos - voided_nanos - held_nanos as free
    from billing_creditgrant
    where org_id = any(p_orgs) and is_open and effective_at <= p_at
      and (expires_at is null or expires_at > p_at)
      and (p_model is null or allowed_models is null or p_model = any(allowed_models))
  ) g
  where g.free > 0
  window w as (partition by g.org_id order by g.priority, coalesce(cardinality(g.allowed_models), 2147483647),
    coalesce(g.expires_at, 'infinity'), g.kind = 'paid', g.effective_at, g.id)
$$;

-- What is free on an organization's credit line: nothing is lent beyond it.
create or replace function free_line(a billing_billingaccount) returns bigint language sql immutable as $$
  select greatest(0, (a).credit_limit_nanos - (a).unbilled_nanos - (a).receivable_nanos
    - (a).line_held_nanos)
$$;
