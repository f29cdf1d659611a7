-- All rate limits of a batch of calls in one script, on the server's clock. GCRA: a limit of N per
-- period is a bucket that lets N through at once and refills evenly; the state is one time, the
-- "theoretical arrival time". Every limit of a call is asked before any is charged, so a refused call
-- consumes nothing. Numbers here are milliseconds and counts, never money.
--
-- ARGV[1]: JSON list of operations:
--   {op="take", checks=[[key, limit, cost, period ms], …], slots={key, limit, member, ttl ms} or null}
--   {op="give", refunds=[[key, limit, cost, period ms], …], slots={key, member} or null}
-- Returns a JSON list; for a take: {ok, refused: position or "slots", retry_ms, state: [[remaining,
-- reset ms], …]}; for a give: true.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000

local function arrival(key)
  local stored = tonumber(redis.call('GET', key) or '0')
  if stored < now then return now end
  return stored
end

local function store(key, at)
  if at <= now then
    redis.call('DEL', key)
  else
    redis.call('SET', key, string.format('%.3f', at), 'PX', math.ceil(at - now) + 1)
  end
end

local function take(operation)
  local answer = {ok = true, state = {}}
  local arrivals = {}
  for position, check in ipairs(operation.checks) do
    local key, limit, cost, period = check[1], check[2], check[3], check[4]
    local interval = period / limit
    local at = arrivals[key] or arrival(key)
    local wait = at + interval * cost - period - now
    if wait > 0.001 and answer.ok then
      answer.ok = false
      answer.refused = position
      answer.retry_ms = math.ceil(wait)
    end
    arrivals[key] = at + interval * cost
    answer.state[position] = {math.floor((period - (at - now)) / interval + 1e-6), math.ceil(at - now)}
  end
  local slots = operation.slots
  if answer.ok and slots and slots ~= cjson.null then
    redis.call('ZREMRANGEBYSCORE', slots[1], '-inf', now)
    if redis.call('ZCARD', slots[1]) >= slots[2] then
      answer.ok = false
      answer.refused = 'slots'
      answer.retry_ms = 1000
    end
  end
  if not answer.ok then return answer end
  for position, check in ipairs(operation.checks) do
    local limit, cost, period = check[2], check[3], check[4]
    store(check[1], arrivals[check[1]])
    local state = answer.state[position]
    state[1] = math.max(0, state[1] - cost)
    state[2] = math.ceil(state[2] + period / limit * cost)
  end
  if slots and slots ~= cjson.null then
    redis.call('ZADD', slots[1], now + slots[4], slots[3])
    redis.call('PEXPIRE', slots[1], slots[4])
  end
  return answer
end

local function give(operation)
  for _, refund in ipairs(operation.refunds) do
    store(refund[1], arrival(refund[1]) - refund[4] / refund[2] * refund[3])
  end
  local slots = operation.slots
  if slots and slots ~= cjson.null then redis.call('ZREM', slots[1], slots[2]) end
  return true
end

local answers = {}
for position, operation in ipairs(cjson.decode(ARGV[1])) do
  answers[position] = operation.op == 'take' and take(operation) or give(operation)
end
return cjson.encode(answers)
