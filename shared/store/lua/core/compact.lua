-- Replaces the oldest part of an ended run's log stream by a compressed block in hash `logz:<run>`, under the number of
-- its first line.
-- ARGV: 1 now  2 run id  3 first entry of the stream ('' when it was empty)  4 last entry of the part  5 first line
--       6 block (5 and 6 are '' when no line of the part is kept)
-- Answers 1 when the part was replaced, 0 when there was nothing to do.
-- flags: allow-oom
-- uses: clock records
local id, first_entry, last_entry, first_line, block = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local log = P .. ':log:' .. id
local r = load(id)
if not r then redis.call('DEL', log) end
if not r or r[F.status] ~= S.ended or redis.call('EXISTS', log) == 0 then
  redis.call('ZREM', P .. ':compact', id)
  return 0
end
local first = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
if first and first[1] ~= first_entry then return 0 end   -- another process compacted this part
if block ~= '' then redis.call('HSET', P .. ':logz:' .. id, first_line, block) end
local milliseconds, number = string.match(last_entry, '(%d+)-(%d+)')
if first then redis.call('XTRIM', log, 'MINID', milliseconds .. '-' .. text(tonumber(number) + 1)) end
if redis.call('XLEN', log) == 0 then
  redis.call('DEL', log)
  redis.call('ZREM', P .. ':compact', id)
end
return 1
