-- Finds keys of another type than they should be.
-- ARGV: pairs of a key and its type: hash, set, zset, list, stream, string, or number (a string that is one)
-- Answers pairs of such a key and the type that it has.
-- flags: no-writes
local wrong = {}
for i = 1, #ARGV, 2 do
  local key = KEYS[1] .. ':' .. ARGV[i]
  local kind, wanted = redis.call('TYPE', key).ok, ARGV[i + 1]
  if kind == 'string' and wanted == 'number' and tonumber(redis.call('GET', key)) then kind = wanted end
  if kind ~= 'none' and kind ~= wanted then
    wrong[#wrong + 1] = ARGV[i]
    wrong[#wrong + 1] = kind
  end
end
return wrong
