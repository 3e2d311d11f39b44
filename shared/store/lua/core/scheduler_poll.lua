-- The scheduler's poll, once a second: takes or renews leadership, and answers what there is to do.
-- ARGV: 1 now  2 scheduler  3 leadership lasts (us)  4 gap_us  5 lease_us (both: lib/rescue_hold.lua)
--       6 batch of expired leases  7 the leader's health (JSON) or ''
-- Answers to the leader {fencing token, leader, now, when the next run is due or lease of slots lapses or '', version
-- of the catalog, {queue, waiting runs…}, {expired run, record…}, tasks to prune, logs to compact, store id, executions
-- with runs left to create, executions whose stop was left half-done, keys that were reset (lib/repair.lua), other keys
-- that were overwritten}; to another scheduler {0, leader, now, store id, keys that were reset}.
-- A leader keeps its token, and no token is given twice, so a frozen leader is not mistaken for its successor.
-- flags: allow-oom
-- uses: clock repair rescue_hold store_id
local me, lasts_us, gap_us, lease_us = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local batch, health = tonumber(ARGV[6]), ARGV[7]

-- Answers the token or nil, and who leads.
local function lead()
  redis.call('ZADD', P .. ':schedulers', NOW, me)
  redis.call('ZREMRANGEBYSCORE', P .. ':schedulers', '-inf', text(NOW - 15000000))
  local id, until_us, token = unpack(redis.call('HMGET', P .. ':leader', 'id', 'until', 'token'))
  if id and id ~= me and tonumber(until_us) >= NOW then
    if tonumber(until_us) > NOW + lasts_us then   -- further ahead than it can be: the clock went back
      redis.call('HSET', P .. ':leader', 'until', text(NOW + lasts_us))
    end
    return nil, id
  end
  if id ~= me then
    -- Taken from the clock, because a counter would restart when the store is wiped.
    token = text(math.max(NOW, (tonumber(token) or 0) + 1))
    redis.call('HSET', P .. ':leader', 'id', me, 'token', token)
  end
  redis.call('HSET', P .. ':leader', 'until', text(NOW + lasts_us))
  if health ~= '' then redis.call('SET', P .. ':health', health, 'PX', 180000) end
  return tonumber(token), me
end

local function waiting_runs()
  local waiting = {}
  for _, queue in ipairs(redis.call('SMEMBERS', P .. ':queues')) do
    local depth = look('ZCARD', P .. ':queue:' .. queue) or 0
    if depth > 0 and look('SISMEMBER', P .. ':queues:paused', queue) == 0 then
      waiting[#waiting + 1] = queue
      waiting[#waiting + 1] = depth
    end
  end
  return waiting
end

local function expired_leases()
  local expired = {}
  if (number_in('rescue-hold') or 0) > NOW then return expired end
  for _, id in ipairs(look('ZRANGEBYSCORE', P .. ':leases', '-inf', text(NOW), 'LIMIT', 0, batch) or {}) do
    expired[#expired + 1] = id
    expired[#expired + 1] = redis.call('GET', P .. ':run:' .. id) or ''
  end
  return expired
end

local function next_due()
  local due = (look('ZRANGE', P .. ':due', 0, 0, 'WITHSCORES') or {})[2]
  local lapse = (look('ZRANGE', P .. ':slot-leases', 0, 0, 'WITHSCORES') or {})[2]
  return lapse and (not due or tonumber(lapse) < tonumber(due)) and lapse or due or ''
end

local function poll()
  if not note_contact(gap_us, lease_us) then was_reset('contact') end
  local token, id = lead()
  if not token then return {0, id, text(NOW), store_id(), reset} end
  return {token, id, text(NOW), next_due(), number_in('catalog') or 0, waiting_runs(), expired_leases(),
    redis.call('SCARD', P .. ':prune-candidates'),
    look('ZCOUNT', P .. ':compact', '-inf', text(NOW - 10000000)) or 0,
    store_id(),
    look('ZCOUNT', P .. ':incomplete', '-inf', text(NOW)) or 0,
    look('ZCOUNT', P .. ':stopping', '-inf', text(NOW - 1000000)) or 0,
    reset, not_read}
end

if math.floor(NOW / 1000000) % 10 == 0 then reset_not_polled() end
local succeeded, answer = pcall(poll)
if succeeded then return answer end
reset_overwritten()
return poll()
