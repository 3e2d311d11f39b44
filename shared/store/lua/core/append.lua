-- Appends a chunk of log lines to the log of a running run: stream `log:<run>`, one entry per chunk, with id
-- <first line + 1>-0.
-- ARGV: 1 now  2 run id  3 token  4 first line's number  5 number of lines  6 chunk  7 first line still kept
--       8 kept bytes  9 source status
-- Answers 'stored', 'already_stored' (a repeat), or 'lost' (the run is no longer with this worker).
-- A chunk that is repeated because its answer was lost may have grown at its end; only its new lines are added.
-- uses: clock records
local id, token, first, lines, chunk = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local kept, kept_bytes, running = tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9]
local r = load(id)
if not r or r[F.status] ~= running or r[F.token] ~= token then return 'lost' end
local log = P .. ':log:' .. id
local there = r[F.log_lines]
if there >= first + lines then return 'already_stored' end
if there > first then
  local new, past = {}, first + lines
  for _, line in ipairs(cmsgpack.unpack(chunk)) do
    if line[1] >= there then new[#new + 1] = line end
  end
  first = new[1][1]
  lines, chunk = past - first, cmsgpack.pack(new)
end
redis.call('XADD', log, text(first + 1) .. '-0', 'c', lines, 'd', chunk)
r[F.log_lines], r[F.log_first], r[F.log_bytes] = first + lines, kept, kept_bytes
if kept > 0 then
  r[F.log_truncated] = 1
  local holds = redis.call('XREVRANGE', log, text(kept + 1) .. '-0', '-', 'COUNT', 1)[1]
  if holds then redis.call('XTRIM', log, 'MINID', holds[1]) end
end
save(id, r)
redis.call('PUBLISH', P .. ':channel:log:' .. id, '')
return 'stored'
