-- The scheduler's look at everything, once a beat: who leads, and what is there to do.
-- ARGV: 1 now  2 scheduler  3 leadership lasts (us)  4 gap_us  5 lease_us  6 batch of expired leases
--       7 how the leader is (JSON) or ''
-- Answers {fencing token or 0, leader, now, when the next run is due or lease of slots lapses, or '', catalog version, {queue, waiting…}, {expired run, record…},
--          number of tasks to tidy, number of logs left to compact, instance of the store, number of executions with runs
--          left to make, number of those that nobody goes on stopping, names of keys
--          that somebody else wrote to and that were begun anew, names of others that it wrote to};
--          of one that stands by {0, leader, now, instance, such names}.
-- A leader keeps its token; a token is never given twice, also when the store was wiped in between, so one that woke up late can be told from its successor.
-- flags: allow-oom
-- uses: clock repair rescue_hold store_id
local anew = reset_overwritten()
note_contact(tonumber(ARGV[4]), tonumber(ARGV[5]))
local me, leads = ARGV[2], P .. ':leader'
redis.call('ZADD', P .. ':schedulers', NOW, me)
redis.call('ZREMRANGEBYSCORE', P .. ':schedulers', '-inf', text(NOW - 15000000))
local held = redis.call('HMGET', leads, 'id', 'until', 'token')
local token, lasts = 0, tonumber(ARGV[3])
if held[1] == me then
  token = tonumber(held[3])
elseif not held[1] or tonumber(held[2]) < NOW then
  token = math.max(NOW, (tonumber(held[3]) or 0) + 1)   -- by the clock: a count begins anew when the store is wiped
  redis.call('HSET', leads, 'id', me, 'token', text(token))
  held[1] = me
elseif tonumber(held[2]) > NOW + lasts then   -- further ahead than it can be: the clock went back
  redis.call('HSET', leads, 'until', text(NOW + lasts))
end
if token == 0 then return {0, held[1], text(NOW), store_id(), anew} end
redis.call('HSET', leads, 'until', text(NOW + lasts))
if ARGV[7] ~= '' then redis.call('SET', P .. ':health', ARGV[7], 'PX', 180000) end
local waiting = {}
for _, queue in ipairs(redis.call('SMEMBERS', P .. ':queues')) do
  local depth = look('ZCARD', P .. ':queue:' .. queue) or 0
  if depth > 0 and look('SISMEMBER', P .. ':queues:paused', queue) == 0 then
    waiting[#waiting + 1] = queue
    waiting[#waiting + 1] = depth
  end
end
local expired = {}
if (tonumber(redis.call('GET', P .. ':rescue-hold')) or 0) <= NOW then
  for _, id in ipairs(look('ZRANGEBYSCORE', P .. ':leases', '-inf', text(NOW), 'LIMIT', 0, tonumber(ARGV[6])) or {}) do
    expired[#expired + 1] = id
    expired[#expired + 1] = redis.call('GET', P .. ':run:' .. id) or ''
  end
end
local due = (look('ZRANGE', P .. ':due', 0, 0, 'WITHSCORES') or {})[2]
local lapse = (look('ZRANGE', P .. ':slot-leases', 0, 0, 'WITHSCORES') or {})[2]
if lapse and (not due or tonumber(lapse) < tonumber(due)) then due = lapse end
return {token, me, text(NOW), due or '', tonumber(redis.call('GET', P .. ':catalog')) or 0, waiting, expired,
  redis.call('SCARD', P .. ':prune-candidates'), look('ZCOUNT', P .. ':compact', '-inf', text(NOW - 10000000)) or 0, store_id(),
  look('ZCOUNT', P .. ':making', '-inf', text(NOW)) or 0, look('ZCOUNT', P .. ':stopping', '-inf', text(NOW - 1000000)) or 0, anew, not_seen}
