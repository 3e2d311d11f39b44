-- Creates, changes or deletes a limit of an API, or takes its slots from all their holders except executions.
-- ARGV: 1 now  2 limit  3 its max, 'off', 'reset', or '' to delete it  4 what the API stores about it (JSON)
--       5 id of this call  6… runs that hold a slot after a reset
-- Answers 1, or 0 when the task file owns the limit or there is none to delete or reset.
-- flags: allow-oom
-- uses: calls clock limits slots
local name, max, about, call = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local gate, known = 'shared:' .. name, redis.call('HEXISTS', P .. ':limits:api', name)
local before = answer_before(call)
if before then return tonumber(before) end
if redis.call('HEXISTS', P .. ':limits:file', name) == 1 then return 0 end
if max == '' or max == 'reset' then
  if known == 0 then return 0 end
  for _, holder in ipairs(redis.call('ZRANGE', P .. ':slots:' .. gate, 0, -1)) do
    if #holder > 16 then end_lease(string.sub(holder, 1, 16)) end
  end
  redis.call('DEL', P .. ':slots:' .. gate)
  for i = 6, #ARGV do redis.call('ZADD', P .. ':slots:' .. gate, NOW, ARGV[i]) end
end
if max == '' then
  redis.call('HDEL', P .. ':limits:api', name)
  redis.call('HDEL', P .. ':limits:api:max', name)
elseif max ~= 'reset' then
  redis.call('HSET', P .. ':limits:api:max', name, max)
  redis.call('HSET', P .. ':limits:api', name, about)
end
settle_limit(name)
keep_answer(call, 1)
return 1
