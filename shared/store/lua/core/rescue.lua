-- Ends a running run whose lease has expired as crashed (or stopped, when that was requested), and creates its retry.
-- ARGV: 1 now  2 run id  3 source status  4 message  5 retry (lib/retries.lua) or ''
-- Answers {'ended' | 'refused', status or reason, ready queue, runs…}.
-- transitions: rescue retry skip
-- flags: allow-oom
-- uses: clock ending queues records retries
local id, source, message, packed_retry = ARGV[2], ARGV[3], ARGV[4], ARGV[5]

local r = load(id)
if not r then
  redis.call('ZREM', P .. ':leases', id)
  return {'refused', 'gone'}
end
local lease = tonumber(redis.call('ZSCORE', P .. ':leases', id))
if r[F.status] ~= source or not lease or lease > NOW then return {'refused', state_of(r)} end
if (tonumber(redis.call('GET', P .. ':rescue-hold')) or 0) > NOW then return {'refused', 'held'} end
local asked = r[F.stop_request] ~= ''
if asked then
  finish(id, r, R.stopped, -2, 'stopped as asked; its worker was lost before it could say so')
else
  local prepared = packed_retry ~= '' and prepare_retry(id, r, packed_retry)
  finish(id, r, R.crashed, -2, message)
  retry(id, r, packed_retry, prepared)
end
run_left(id, r)
local answer = {S.ended, state_of(r)}
add_ready(answer)
return answer
