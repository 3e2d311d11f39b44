-- Stops a run: a pending one ends at once, a running one is asked to stop (lib/stopping.lua).
-- ARGV: 1 now  2 run id  3 request ('stop' | 'kill')  4 message  5 id of this call
-- Answers {'stopped' | 'asked' | 'ended' | 'gone', record, ready queue, runs…}; 'ended': it had ended before.
-- transitions: stop request_stop skip
-- flags: allow-oom
-- uses: calls clock queues records stopping texts
local id, request, message, call = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local r = load(id)
if not r then return {'gone', ''} end
local verdict = answer_before(call) or S.ended
if r[F.status] ~= S.ended then
  stop_run(id, request, message)
  verdict = load(id)[F.status] == S.ended and R.stopped or 'asked'
  keep_answer(call, verdict)
end
local answer = {verdict, whole(redis.call('GET', P .. ':run:' .. id))}
add_ready(answer)
return answer
