-- Makes, changes or deletes a limit through an API; or takes the slots of one from all that hold them outside of executions.
-- ARGV: 1 now  2 limit  3 its max, 'off', 'reset', or '' to delete it  4 what the API knows of it (JSON)  5… runs that hold a slot after a reset
-- Answers 1, or 0 when there is none to delete or reset.
-- flags: allow-oom
-- uses: clock records events execution slots
local name, gate, known = ARGV[2], 'limit:' .. ARGV[2], redis.call('HEXISTS', P .. ':limits:api', ARGV[2])
if ARGV[3] == '' or ARGV[3] == 'reset' then
  if known == 0 then return 0 end
  for _, holder in ipairs(redis.call('ZRANGE', P .. ':slots:' .. gate, 0, -1)) do
    if #holder > 16 then end_lease(string.sub(holder, 1, 16)) end
  end
  redis.call('DEL', P .. ':slots:' .. gate)
  for i = 5, #ARGV do redis.call('ZADD', P .. ':slots:' .. gate, NOW, ARGV[i]) end
end
if ARGV[3] == '' then
  redis.call('HDEL', P .. ':limits', name)
  redis.call('HDEL', P .. ':limits:api', name)
elseif ARGV[3] ~= 'reset' then
  if ARGV[3] == 'off' then redis.call('HDEL', P .. ':limits', name) else redis.call('HSET', P .. ':limits', name, ARGV[3]) end
  redis.call('HSET', P .. ':limits:api', name, ARGV[4])
end
admit(gate)
return 1
