-- Replaces signatures of definitions, each if it has not changed since it was read.
-- ARGV: 1 now  2… per definition: hash, its signature as it was read, the new one
-- Answers how many of them have the new one.
-- flags: allow-oom
-- uses: clock
local signed = 0
for i = 2, #ARGV, 3 do
  local at = P .. ':def:' .. ARGV[i]
  local before = redis.call('HGET', at, 'signature')
  if before == ARGV[i + 1] then redis.call('HSET', at, 'signature', ARGV[i + 2]) end
  if before == ARGV[i + 1] or before == ARGV[i + 2] then signed = signed + 1 end   -- or a repeated call
end
return signed
