-- Ends a running run and, in the same step, creates its retry, continues its execution, and claims the next run.
-- ARGV: 1 now  2 run id  3 token  4 source status  5 reason  6 exit code  7 message
--       8 facts (msgpack {outputs, log_bytes, log_lines, log_truncated, log_first, peak_memory, cpu_ms}) or ''
--       9 retry (lib/retries.lua) or ''  10 wanted (lib/claim.lua) or ''
-- Answers {'ended' | 'already_ended' | 'refused', status or reason, next claim or false, ready queue, runs…}.
-- 'already_ended': this is a repeat of the call that ended it. A requested stop forbids the retry, not the reason.
-- A refused end claims nothing new: it may be a late call of a worker that is dead by now.
-- transitions: end interrupt retry create skip claim
-- flags: allow-oom
-- uses: claim ending queues records retries
local id, token, source, reason, exit_code = ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5], tonumber(ARGV[6])
local given_message, packed_facts, packed_retry, packed_wanted = ARGV[7], ARGV[8], ARGV[9], ARGV[10]

local r = load_sound(id)
local verdict, state = S.ended, reason
if not r then
  verdict, state = 'refused', 'gone'
elseif r[F.status] ~= source or r[F.token] ~= token then
  local same = r[F.token] == token and r[F.reason] == reason
  verdict, state = same and 'already_ended' or 'refused', state_of(r)
else
  if packed_facts ~= '' then
    local facts = cmsgpack.unpack(packed_facts)
    if facts[3] > r[F.log_lines] then facts[4] = 1 end   -- Redis had no memory for the last lines
    r[F.outputs], r[F.log_bytes], r[F.log_lines], r[F.log_truncated] = facts[1], facts[2], facts[3], facts[4]
    r[F.log_first], r[F.peak_memory], r[F.cpu_ms] = facts[5], facts[6], facts[7]
  end
  local stop_requested, message = r[F.stop_request] ~= '', given_message
  if reason == R.stopped and stop_requested then message = r[F.message] end   -- the message of the request to stop
  local prepared = packed_retry ~= '' and not stop_requested and prepare_retry(id, r, packed_retry)
  finish(id, r, reason, exit_code, message)
  retry(id, r, packed_retry, prepared)
  run_left(id, r)
end
local answer = {verdict, state, false}
if packed_wanted ~= '' then
  local wanted = cmsgpack.unpack(packed_wanted)
  if verdict == 'refused' then
    answer[3] = claimed_before(wanted) or false
  else
    local sound, claimed = pcall(claim_next, wanted)   -- a failed claim does not undo the end
    answer[3] = sound and claimed or false
  end
end
add_ready(answer)
return answer
