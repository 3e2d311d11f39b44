-- NOW: stored time in microseconds: ARGV[1] when a test passes one, otherwise the server's.
-- P:   the prefix of all keys (KEYS[1]).
local P = KEYS[1]
local NOW = tonumber(ARGV[1])
if not NOW then
  local time = redis.call('TIME')
  NOW = time[1] * 1000000 + time[2]
end
-- Lua's own conversion keeps 14 digits; a microsecond stamp has 16.
local function text(number) return string.format('%.0f', number) end
