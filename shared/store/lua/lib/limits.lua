-- Shared limits: hash `limits` (name: most executions) is what holds. It is made of what the task file says
-- (`limits:file`) and, where that says nothing, of what was asked through an API (`limits:api:max`: name: max, or
-- 'off').
-- uses: clock gates
local function settle_limit(name)
  local max = redis.call('HGET', P .. ':limits:file', name) or redis.call('HGET', P .. ':limits:api:max', name)
  if not max or max == 'off' then
    redis.call('HDEL', P .. ':limits', name)
  else
    redis.call('HSET', P .. ':limits', name, max)
  end
  admit('shared:' .. name)   -- there may be more room now
end
