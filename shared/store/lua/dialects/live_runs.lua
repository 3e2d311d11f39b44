-- Lists the live runs as they are at one instant. ARGV: 1 most
-- Answers their ids, or nil when there are more.
-- flags: no-writes
local most = tonumber(ARGV[1])
local found = {}
for _, state in ipairs({S.pending, S.running}) do
  local runs = KEYS[1] .. ':ix:all:' .. state .. ':created'
  if #found + redis.call('ZCARD', runs) > most then return false end
  for _, run in ipairs(redis.call('ZRANGE', runs, 0, -1)) do found[#found + 1] = run end
end
return found
