-- Shared limits: hash `limits` (name: maximum) has those in force. A limit of the task file (`limits:file`) overrides
-- the one of an API (`limits:api:max`: name: max, or 'off').
-- uses: clock gates
local function settle_limit(name)
  local max = redis.call('HGET', P .. ':limits:file', name) or redis.call('HGET', P .. ':limits:api:max', name)
  if not max or max == 'off' then
    redis.call('HDEL', P .. ':limits', name)
  else
    redis.call('HSET', P .. ':limits', name, max)
  end
  admit('shared:' .. name)   -- the maximum may be greater now
end
