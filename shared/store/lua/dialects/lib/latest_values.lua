-- What is told of a thing by messages that come in any order: of all values ever told for a field, the one with the
-- latest time stays, of one time the greater value. Kept as 16 digits of the time, then the value. A hash takes `most`
-- fields.
local function keep_latest(key, field, at_us, value, most)
  local before = redis.call('HGET', key, field)
  if before then
    local told = tonumber(string.sub(before, 1, 16))
    if told > at_us or (told == at_us and string.sub(before, 17) >= value) then return end
  elseif redis.call('HLEN', key) >= most then
    return
  end
  redis.call('HSET', key, field, string.format('%016.0f', at_us) .. value)
end
