-- Stores the lines that a running run has not ended yet, in place of those before, for readers that follow its log.
-- ARGV: 1 now  2 run id  3 token  4 the lines (msgpack), '' for none  5 source status  6 they expire after (ms)
-- Answers 'stored', or 'lost' (the run is no longer with this worker).
-- uses: clock records
local id, token, lines, running, life_ms = ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5], ARGV[6]
local key, r = P .. ':unfinished:' .. id, load(id)
if not r or r[F.status] ~= running or r[F.token] ~= token then return 'lost' end
if lines == '' then redis.call('DEL', key) else redis.call('SET', key, lines, 'PX', life_ms) end
redis.call('PUBLISH', P .. ':channel:log:' .. id, '')
return 'stored'
