-- Keeps what a running run has written of lines that have no end yet, for readers who follow it, in place of what it had.
-- ARGV: 1 now  2 run id  3 token  4 the lines (msgpack), '' for none  5 source status  6 milliseconds until it is forgotten
-- Answers 'stored', or 'lost' (somebody else decides about the run now).
-- uses: clock records
local key, r = P .. ':unfinished:' .. ARGV[2], load(ARGV[2])
if not r or r[F.status] ~= ARGV[5] or r[F.token] ~= tonumber(ARGV[3]) then return 'lost' end
if ARGV[4] == '' then redis.call('DEL', key) else redis.call('SET', key, ARGV[4], 'PX', ARGV[6]) end
redis.call('PUBLISH', P .. ':channel:log:' .. ARGV[2], '')
return 'stored'
