-- Reads the outputs of the steps that a run depends on.
-- ARGV: 1 execution id  2 number of the run's step
-- Answers {task, outputs (JSON), …}: for each of those steps, each replica that succeeded and has outputs, in order.
-- flags: no-writes
local P = KEYS[1]
local at, answer = P .. ':plan:' .. ARGV[1], {}
local step = redis.call('HGET', at, 'step:' .. ARGV[2])
for _, i in ipairs(step and cmsgpack.unpack(step)[3] or {}) do
  local needed = cmsgpack.unpack(redis.call('HGET', at, 'step:' .. i))[1]
  for replica = 0, needed[F.replica_count] - 1 do
    local id = redis.call('HGET', at, 'ok:' .. i .. ':' .. replica)
    local run = id and redis.call('GET', P .. ':run:' .. id)
    local outputs = run and cmsgpack.unpack(run)[F.outputs] or ''
    if outputs ~= '' then
      answer[#answer + 1] = needed[F.task]
      answer[#answer + 1] = outputs
    end
  end
end
return answer
