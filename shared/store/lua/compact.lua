-- Replaces an ended run's log stream by its compressed form: hash `logz:<run>`, field: number of the first line of a block.
-- ARGV: 1 now  2 run id  3… pairs: first line, block    Answers 1 when it was done, 0 when there was nothing to do.
-- uses: clock records
local id = ARGV[2]
local r = load(id)
redis.call('ZREM', P .. ':compact', id)
if not r then
  redis.call('DEL', P .. ':log:' .. id)
  return 0
end
if r[F.status] ~= 'ended' or redis.call('EXISTS', P .. ':log:' .. id) == 0 then return 0 end
for i = 3, #ARGV, 2 do redis.call('HSET', P .. ':logz:' .. id, ARGV[i], ARGV[i + 1]) end
redis.call('DEL', P .. ':log:' .. id)
return 1
