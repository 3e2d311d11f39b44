-- Values that messages report in any order: a field keeps the value with the latest time, and among equal times the
-- greatest value. It is stored as 16 digits of the time, then the value. A hash takes at most `most` fields.
local function keep_latest(key, field, at_us, value, most)
  local before = redis.call('HGET', key, field)
  if before then
    local time = tonumber(string.sub(before, 1, 16))
    if time > at_us or (time == at_us and string.sub(before, 17) >= value) then return end
  elseif redis.call('HLEN', key) >= most then
    return
  end
  redis.call('HSET', key, field, string.format('%016.0f', at_us) .. value)
end
