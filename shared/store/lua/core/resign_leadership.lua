-- Ends a scheduler's leadership, so that the next leader need not wait for it to expire.
-- ARGV: 1 now  2 scheduler    Answers 1 when it was the leader.
-- flags: allow-oom
-- uses: clock
local scheduler = ARGV[2]
redis.call('ZREM', P .. ':schedulers', scheduler)
if redis.call('HGET', P .. ':leader', 'id') ~= scheduler then return 0 end
redis.call('HDEL', P .. ':leader', 'id', 'until')
redis.call('LPUSH', P .. ':wake:standby', '')
redis.call('LTRIM', P .. ':wake:standby', 0, 0)
redis.call('PEXPIRE', P .. ':wake:standby', 5000)
return 1
