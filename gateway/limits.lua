-- All rate limits of a batch of calls in one script, on the server's clock. GCRA: a limit of N per
-- period is a bucket that lets N through at once and refills evenly; the state is one time, the
-- "theoretical arrival time". Calls at once are leases in a sorted set, scored by when they end.
-- Every limit of a call is asked before any is charged, so a refused call consumes nothing. A call
-- that was charged leaves its mark: asked again it is not charged again, and only what was charged
-- is given back, once. Numbers here are milliseconds and counts, never money.
--
-- ARGV[1]: JSON list of operations:
--   {op="take", id, checks=[[key, limit, cost, period ms], …], slots=[[key, limit], …], lease=ms,
--    longest=ms}
--   {op="give", id, refunds=[[key, limit, cost, period ms], …], slots=[key, …]}
--   {op="renew", leases=[[key, id], …], lease=ms}
-- Returns a JSON list; for a take: {ok, refused: position among checks, then slots; retry_ms,
-- state: [[remaining, reset ms], …]}; else: true.
local FULL_RETRY_MS = 1000
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

local function lease(key, id, lasts)
  redis.call('ZADD', key, now + lasts, id)
  redis.call('PEXPIRE', key, lasts)
end

local function refuse(answer, position, retry)
  if answer.ok then
    answer.ok, answer.refused, answer.retry_ms = false, position, math.ceil(retry)
  end
end

local function take(operation)
  local mark = 'rl:c:' .. operation.id
  local charged = redis.call('EXISTS', mark) == 1
  local answer = {ok = true, state = {}}
  local arrivals = {}
  for position, check in ipairs(operation.checks) do
    local key, limit, cost, period = check[1], check[2], check[3], check[4]
    local interval = period / limit
    local at = arrival(key)
    local wait = at + interval * cost - period - now
    if wait > 0.001 and cost > 0 and not charged then refuse(answer, position, wait) end
    arrivals[position] = at + interval * cost
    answer.state[position] = {math.floor((period - (at - now)) / interval + 1e-6), math.ceil(at - now)}
  end
  if charged then return answer end
  for position, slots in ipairs(operation.slots) do
    redis.call('ZREMRANGEBYSCORE', slots[1], '-inf', now)
    if redis.call('ZCARD', slots[1]) >= slots[2] then
      refuse(answer, #operation.checks + position, FULL_RETRY_MS)
    end
  end
  if not answer.ok then return answer end
  for position, check in ipairs(operation.checks) do
    local limit, cost, period = check[2], check[3], check[4]
    store(check[1], arrivals[position])
    local state = answer.state[position]
    state[1] = math.max(0, state[1] - cost)
    state[2] = math.ceil(state[2] + period / limit * cost)
  end
  for _, slots in ipairs(operation.slots) do lease(slots[1], operation.id, operation.lease) end
  redis.call('SET', mark, '', 'PX', operation.longest)
  return answer
end

local function give(operation)
  if redis.call('DEL', 'rl:c:' .. operation.id) == 1 then
    for _, refund in ipairs(operation.refunds) do
      store(refund[1], arrival(refund[1]) - refund[4] / refund[2] * refund[3])
    end
  end
  for _, key in ipairs(operation.slots) do redis.call('ZREM', key, operation.id) end
  return true
end

local function renew(operation)
  for _, slot in ipairs(operation.leases) do lease(slot[1], slot[2], operation.lease) end
  return true
end

local run = {take = take, give = give, renew = renew}
local answers = {}
for position, operation in ipairs(cjson.decode(ARGV[1])) do
  answers[position] = run[operation.op](operation)
end
return cjson.encode(answers)
