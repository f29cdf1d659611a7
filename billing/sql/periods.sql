-- Budget periods as pure functions: (period, time zone, instant) -> the half-open interval around it.
-- One definition, in the database, because periods follow the database's clock.

-- The first instant at which a zone's wall clock shows a given local time. Where clocks fall back, the
-- same local time comes twice; PostgreSQL picks the later instant, a period starts at the earlier.
create or replace function local_instant(p_local timestamp, p_zone text) returns timestamptz
language sql stable as $$
  select case
    when ((p_local at time zone p_zone) - interval '1 hour') at time zone p_zone = p_local
    then (p_local at time zone p_zone) - interval '1 hour'
    else p_local at time zone p_zone
  end
$$;

create or replace function period_start(p_period text, p_zone text, p_at timestamptz)
returns timestamptz language sql stable as $$
  select case p_period
    when 'lifetime' then to_timestamp(0)
    -- an hour is counted from the minute hand, so that a repeated local hour stays two periods
    when 'hour' then p_at - ((p_at at time zone p_zone) - date_trunc('hour', p_at at time zone p_zone))
    else local_instant(date_trunc(p_period, p_at at time zone p_zone), p_zone)
  end
$$;

create or replace function period_end(p_period text, p_zone text, p_at timestamptz)
returns timestamptz language sql stable as $$
  select case p_period
    when 'lifetime' then null
    when 'hour' then period_start('hour', p_zone, p_at) + interval '1 hour'
    else local_instant(
      date_trunc(p_period, p_at at time zone p_zone) + ('1 ' || p_period)::interval, p_zone)
  end
$$;
