-- Adds a chunk of log lines to a running run's log: stream `log:<run>`, one entry a chunk, whose id is <first line + 1>-0.
-- ARGV: 1 now  2 run id  3 token  4 first line's number  5 number of lines  6 chunk  7 first line still kept  8 kept bytes
--       9 source status
-- Answers 'stored', 'again' (this chunk is there already), or 'lost' (somebody else decides about the run now).
-- uses: clock records
local id, first, lines, kept = ARGV[2], tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[7])
local r = load(id)
if not r or r[F.status] ~= ARGV[9] or r[F.token] ~= tonumber(ARGV[3]) then return 'lost' end
local log = P .. ':log:' .. id
if r[F.log_lines] > first then return 'again' end
redis.call('XADD', log, text(first + 1) .. '-0', 'c', lines, 'd', ARGV[6])
r[F.log_lines], r[F.log_first], r[F.log_bytes] = first + lines, kept, tonumber(ARGV[8])
if kept > 0 then
  r[F.log_truncated] = 1
  local holds = redis.call('XREVRANGE', log, text(kept + 1) .. '-0', '-', 'COUNT', 1)[1]
  if holds then redis.call('XTRIM', log, 'MINID', holds[1]) end
end
save(id, r)
redis.call('PUBLISH', P .. ':bell:log:' .. id, '')
return 'stored'
