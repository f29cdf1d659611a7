-- Usage by the hour, exact at every moment.
--
-- 1. A statement that writes usage leaves its sums in billing_usagetail: one row per key, model and
--    hour of the batch, in the same transaction, whatever hour the usage belongs to. The tail is a
--    heap without an index, so nobody waits for anybody and nothing is looked up.
-- 2. roll_up() moves tail rows into billing_usagerollup: the delete and the addition are one
--    statement, so a row is counted once however often the task runs and wherever it dies.
-- 3. Readers ask billing_usagehour, roll-ups and tail together: what is committed is in exactly one.

create table if not exists billing_usagetail (
  org_id bigint not null,
  hour timestamptz not null,
  project_id bigint not null,
  key_id bigint not null,
  model varchar(200) not null,
  requests bigint not null,
  input numeric not null,
  cached_input numeric not null,
  cache_write numeric not null,
  output numeric not null,
  reasoning numeric not null,
  image numeric not null,
  audio_input numeric not null,
  audio_output numeric not null,
  embedding numeric not null,
  request numeric not null,
  amount_nanos numeric not null,
  first_token_ms bigint not null,
  first_token_count bigint not null,
  duration_ms bigint not null,
  duration_count bigint not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- Rows of the present hour are added to every few seconds: leave room for it on their pages.
alter table billing_usagerollup set (fillfactor = 70);

create or replace function note_usage() returns trigger language plpgsql as $$
begin
  insert into billing_usagetail
  select org_id, date_trunc('hour', occurred_at, 'UTC'), project_id, key_id, model, count(*),
    sum(input), sum(cached_input), sum(cache_write), sum(output), sum(reasoning), sum(image),
    sum(audio_input), sum(audio_output), sum(embedding), sum(request), sum(amount_nanos),
    coalesce(sum(first_token_ms), 0), count(first_token_ms),
    coalesce(sum(duration_ms), 0), count(duration_ms)
  from added group by 1, 2, 3, 4, 5;
  return null;
end $$;
drop trigger if exists note_usage on billing_usageevent;
create trigger note_usage after insert on billing_usageevent
  referencing new table as added for each statement execute function note_usage();

-- Add up to p_most rows of the tail to the roll-ups; returns how many were taken. One at a time: a
-- second caller takes nothing.
create or replace function roll_up(p_most int) returns int language plpgsql as $$
declare v_taken int;
begin
  if not pg_try_advisory_xact_lock(hashtext('billing.roll_up')) then return 0; end if;
  with taken as (
    delete from billing_usagetail where ctid = any(array(select ctid from billing_usagetail limit p_most))
    returning *
  ), added as (
    insert into billing_usagerollup as old (
      org_id, hour, project_id, key_id, model, requests, input, cached_input, cache_write, output,
      reasoning, image, audio_input, audio_output, embedding, request, amount_nanos,
      first_token_ms, first_token_count, duration_ms, duration_count)
    select org_id, hour, project_id, key_id, model, sum(requests), sum(input), sum(cached_input),
      sum(cache_write), sum(output), sum(reasoning), sum(image), sum(audio_input),
      sum(audio_output), sum(embedding), sum(request), sum(amount_nanos), sum(first_token_ms),
      sum(first_token_count), sum(duration_ms), sum(duration_count)
    from taken group by 1, 2, 3, 4, 5
    on conflict (org_id, hour, project_id, key_id, model) do update set
      requests = old.requests + excluded.requests,
      input = old.input + excluded.input,
      cached_input = old.cached_input + excluded.cached_input,
      cache_write = old.cache_write + excluded.cache_write,
      output = old.output + excluded.output,
      reasoning = old.reasoning + excluded.reasoning,
      image = old.image + excluded.image,
      audio_input = old.audio_input + excluded.audio_input,
      audio_output = old.audio_output + excluded.audio_output,
      embedding = old.embedding + excluded.embedding,
      request = old.request + excluded.request,
      amount_nanos = old.amount_nanos + excluded.amount_nanos,
      first_token_ms = old.first_token_ms + excluded.first_token_ms,
      first_token_count = old.first_token_count + excluded.first_token_count,
      duration_ms = old.duration_ms + excluded.duration_ms,
      duration_count = old.duration_count + excluded.duration_count
  )
  select count(*) into v_taken from taken;
  return v_taken;
end $$;

-- Usage by the hour, up to the last commit. Several rows may belong to one hour: sum them.
create or replace view billing_usagehour as
  select org_id, hour, project_id, key_id, model, requests, input, cached_input, cache_write, output,
    reasoning, image, audio_input, audio_output, embedding, request, amount_nanos, first_token_ms,
    first_token_count, duration_ms, duration_count
  from billing_usagerollup
  union all table billing_usagetail;

-- Usage from before there were roll-ups. The trigger's lock lets no writer in until this commits.
insert into billing_usagetail
select org_id, date_trunc('hour', occurred_at, 'UTC'), project_id, key_id, model, count(*),
  sum(input), sum(cached_input), sum(cache_write), sum(output), sum(reasoning), sum(image),
  sum(audio_input), sum(audio_output), sum(embedding), sum(request), sum(amount_nanos),
  coalesce(sum(first_token_ms), 0), count(first_token_ms),
  coalesce(sum(duration_ms), 0), count(duration_ms)
from billing_usageevent
where not exists (select 1 from billing_usagerollup)
  and not exists (select 1 from billing_usagetail)
group by 1, 2, 3, 4, 5;

-- Credit is what came onto the account; usage, which is nearly every transaction, is left out here.
create index if not exists ledger_txn_not_usage on billing_ledgertransaction (org_id)
  where kind <> 'usage';
