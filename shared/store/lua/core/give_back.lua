-- Returns a claimed run that was not started: it is pending again, first of its band in its queue, or due later.
-- ARGV: 1 now  2 run id  3 token  4 source status  5 delay_us (0: at once)  6 message: why it waits
--       7 crashes to count (0 | 1)
-- Answers {'given_back' | 'stopped' | 'refused', status or reason, ready queue, runs…}.
-- 'stopped': a stop was requested before. A repeated call is refused, because the run no longer has its token.
-- transitions: give_back skip
-- flags: allow-oom
-- uses: clock ending events execution queues records
local id, token, source, delay_us = ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local message, crashes = ARGV[6], tonumber(ARGV[7])

local r = load(id)
if not r then return {'refused', 'gone'} end
if r[F.status] ~= source or r[F.token] ~= token then return {'refused', state_of(r)} end
local verdict = 'given_back'
if r[F.stop_request] ~= '' then
  verdict = R.stopped
  finish(id, r, R.stopped, -1, r[F.message])
  run_left(id, r)
else
  local first = delay_us > 0 and first_due() or nil   -- fails before anything is written if `due` was overwritten
  redis.call('ZREM', P .. ':leases', id)
  unindex(id, r)
  r[F.status], r[F.start_us], r[F.worker], r[F.token] = S.pending, 0, '', 0
  r[F.message], r[F.crashes] = message, r[F.crashes] + crashes
  if delay_us > 0 then r[F.due_us] = NOW + delay_us end
  index(id, r)
  save(id, r)
  count_change(id, r)
  event('run.given_back', r[F.task], id, execution_of(id, r))
  if r[F.due_us] > NOW then schedule_at(id, r[F.due_us], first) else enqueue(id, r, true) end
end
local answer = {verdict, state_of(r)}
add_ready(answer)
return answer
