-- Lineage events: `lineage:bodies` has them by digest, `lineage` and `lineage:static` (those of no run) by their own
-- time, `lineage:arrived` by their arrival. Beyond the bounds those that arrived first are deleted.
-- uses: clock
local function trim_lineage(most, most_bytes, life_us, batch)
  local arrived, bodies, trimmed = P .. ':lineage:arrived', P .. ':lineage:bodies', 0
  while trimmed < batch do
    local oldest = redis.call('ZRANGE', arrived, 0, 0, 'WITHSCORES')
    if not oldest[1] then break end
    local fits = redis.call('ZCARD', arrived) <= most
      and tonumber(redis.call('GET', P .. ':lineage:bytes')) <= most_bytes
    if fits and tonumber(oldest[2]) > NOW - life_us then break end
    redis.call('DECRBY', P .. ':lineage:bytes', redis.call('HSTRLEN', bodies, oldest[1]))
    redis.call('HDEL', bodies, oldest[1])
    for _, order in ipairs({P .. ':lineage', P .. ':lineage:static', arrived}) do
      redis.call('ZREM', order, oldest[1])
    end
    trimmed = trimmed + 1
  end
  return trimmed
end
