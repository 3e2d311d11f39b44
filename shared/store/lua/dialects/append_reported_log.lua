-- Appends reported lines to the log of an external run, also before its reported start and for a while after its end.
-- ARGV: 1 now  2 run id  3 most bytes that its log may have  4 digest of these lines (a repeated call adds none)
--       5… triples: stored time, stream, line
-- Answers 'stored', 'full' (further lines are dropped), or 'lost' (no such run, or its log is closed).
-- uses: clock records
local id, room, digest = ARGV[2], tonumber(ARGV[3]), ARGV[4]
local r, metadata = load(id), P .. ':meta:' .. id
local log = P .. ':log:' .. id
if not r or r[F.external] == 0 or redis.call('EXISTS', P .. ':logz:' .. id) == 1 then return 'lost' end
if redis.call('HGET', metadata, 'last_lines') == digest then return 'stored' end
if r[F.log_truncated] == 1 then return 'full' end   -- once a line was dropped, so are the shorter ones after it
local first, bytes, lines = r[F.log_lines], r[F.log_bytes], {}
for i = 5, #ARGV, 3 do
  if bytes + #ARGV[i + 2] > room then r[F.log_truncated] = 1 break end
  bytes = bytes + #ARGV[i + 2]
  lines[#lines + 1] = {first + #lines, tonumber(ARGV[i]), tonumber(ARGV[i + 1]), ARGV[i + 2], false}
end
redis.call('HSET', metadata, 'last_lines', digest)
if #lines > 0 then redis.call('XADD', log, text(first + 1) .. '-0', 'c', #lines, 'd', cmsgpack.pack(lines)) end
r[F.log_lines], r[F.log_bytes] = first + #lines, bytes
save(id, r)
if #lines > 0 and r[F.status] == S.ended then redis.call('ZADD', P .. ':compact', r[F.end_us], id) end
redis.call('PUBLISH', P .. ':channel:log:' .. id, '')
return r[F.log_truncated] == 1 and 'full' or 'stored'
