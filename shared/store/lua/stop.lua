-- Wishes a run to stop: a pending one ends at once, a running one is asked.
-- ARGV: 1 now  2 run id  3 wish ('stop' | 'kill')  4 message
-- Answers {'stopped' | 'asked' | 'ended' | 'gone', record, ready queue, runs…}; 'ended': it was over already.
-- flags: allow-oom
-- uses: clock records events execution ending stopping
local id = ARGV[2]
local r = load(id)
if not r then return {'gone', ''} end
local was = r[F.status]
if was ~= 'ended' then stop_run(id, ARGV[3], ARGV[4]) end
local verdict = was == 'pending' and 'stopped' or was == 'running' and 'asked' or 'ended'
local answer = {verdict, redis.call('GET', P .. ':run:' .. id)}
tell_ready(answer)
return answer
