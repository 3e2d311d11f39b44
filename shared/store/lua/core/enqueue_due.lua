-- Enqueues delayed runs that are due, at most ARGV[2] a call. The overlap rule of a delayed trigger is applied now, and
-- may skip it. Also ends lapsed leases of slots. A run whose record cannot be read is postponed by a minute, so that it
-- does not block the others.
-- ARGV: 1 now  2 batch    Answers {number looked at, next due in microseconds or '', {postponed run…}, ready queue,
--       runs…}.
-- transitions: skip stop request_stop
-- flags: allow-oom
-- uses: clock ending execution gates groups overlap queues records slots
local batch = tonumber(ARGV[2])

local function release(id)
  -- Not in `due` any more: it was enqueued together with an earlier replica of its execution.
  local r = redis.call('ZREM', P .. ':due', id) == 1 and load(id)
  if not r or r[F.status] ~= S.pending then return end
  local x = execution_of(id, r)
  local e = redis.call('HMGET', P .. ':exec:' .. x, 'state', 'overlap', 'max_queued', 'task')
  if e[1] == 'delayed' then
    local gates = gates_of(x)
    local verdict = decide(e[4], gates, e[2], tonumber(e[3]))
    for _, each in ipairs(runs_of(x)) do redis.call('ZREM', P .. ':due', each) end
    if verdict == 'wait' then
      wait_at_gates(x, e[4], gates, e[2])
    elseif verdict then
      drop_rest(x, R.skipped, verdict)
      for _, each in ipairs(runs_of(x)) do
        local one = load(each)
        if one and one[F.status] == S.pending then
          finish(each, one, R.skipped, -1, verdict)
          run_left(each, one)
        end
      end
    else
      start_execution(x)
    end
  elseif e[1] == 'started' then
    make_ready(id, r)
  end
end
end_lapsed_leases()
local due, failed = redis.call('ZRANGEBYSCORE', P .. ':due', '-inf', text(NOW), 'LIMIT', 0, batch), {}
for _, id in ipairs(due) do
  if not pcall(release, id) then
    redis.call('ZADD', P .. ':due', NOW + 60000000, id)
    failed[#failed + 1] = id
  end
end
local first = redis.call('ZRANGE', P .. ':due', 0, 0, 'WITHSCORES')
local answer = {#due, first[2] or '', failed}
add_ready(answer)
return answer
