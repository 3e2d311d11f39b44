-- Keeps what a running run has written of lines that have no end yet, for readers who follow it, in place of what it
-- had.
-- ARGV: 1 now  2 run id  3 token  4 the lines (msgpack), '' for none  5 source status  6 milliseconds until it is
--       forgotten
-- Answers 'stored', or 'lost' (somebody else decides about the run now).
-- uses: clock records
local id, token, lines, running, life_ms = ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5], ARGV[6]
local key, r = P .. ':unfinished:' .. id, load(id)
if not r or r[F.status] ~= running or r[F.token] ~= token then return 'lost' end
if lines == '' then redis.call('DEL', key) else redis.call('SET', key, lines, 'PX', life_ms) end
redis.call('PUBLISH', P .. ':channel:log:' .. id, '')
return 'stored'
