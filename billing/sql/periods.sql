-- Budget periods as pure functions: (period, time zone, instant, anchor) -> the half-open interval
-- around it. One definition, in the database, because periods follow the database's clock.
--
-- The anchor says where a period begins: the hour of a day (0-23), the ISO weekday of a week (1-7), the
-- day of a month (1-31, the last day of a shorter month). Null is midnight, Monday, the first.

drop function if exists period_start(text, text, timestamptz);
drop function if exists period_end(text, text, timestamptz);

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

-- The anchor's day in the month that begins at p_month.
create or replace function anchored_day(p_month timestamp, p_anchor int) returns timestamp
language sql immutable as $$
  select p_month + make_interval(days => least(p_anchor,
    extract(day from p_month + interval '1 month' - interval '1 day')::int) - 1)
$$;

-- Where the period around a local time begins, on the wall clock.
create or replace function local_period_start(p_period text, p_local timestamp, p_anchor int)
returns timestamp language sql immutable as $$
  select case p_period
    when 'day' then date_trunc('day', p_local - make_interval(hours => coalesce(p_anchor, 0)))
      + make_interval(hours => coalesce(p_anchor, 0))
    when 'week' then date_trunc('week', p_local - make_interval(days => coalesce(p_anchor, 1) - 1))
      + make_interval(days => coalesce(p_anchor, 1) - 1)
    when 'month' then case
      when anchored_day(date_trunc('month', p_local), coalesce(p_anchor, 1)) <= p_local
      then anchored_day(date_trunc('month', p_local), coalesce(p_anchor, 1))
      else anchored_day(date_trunc('month', p_local) - interval '1 month', coalesce(p_anchor, 1))
    end
  end
$$;

create or replace function period_start(
  p_period text, p_zone text, p_at timestamptz, p_anchor int default null
) returns timestamptz language sql stable as $$
  select case p_period
    when 'lifetime' then to_timestamp(0)
    -- an hour is counted from the minute hand, so that a repeated local hour stays two periods
    when 'hour' then p_at - ((p_at at time zone p_zone) - date_trunc('hour', p_at at time zone p_zone))
    else local_instant(local_period_start(p_period, p_at at time zone p_zone, p_anchor), p_zone)
  end
$$;

create or replace function period_end(
  p_period text, p_zone text, p_at timestamptz, p_anchor int default null
) returns timestamptz language sql stable as $$
  select case p_period
    when 'lifetime' then null
    when 'hour' then period_start('hour', p_zone, p_at) + interval '1 hour'
    when 'month' then local_instant(anchored_day(date_trunc('month', local_period_start(
      'month', p_at at time zone p_zone, p_anchor)) + interval '1 month', coalesce(p_anchor, 1)), p_zone)
    else local_instant(local_period_start(p_period, p_at at time zone p_zone, p_anchor)
      + ('1 ' || p_period)::interval, p_zone)
  end
$$;
