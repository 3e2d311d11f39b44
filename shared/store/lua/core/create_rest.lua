-- Creates the next runs of an execution whose runs were not all created at once (lib/remaining_runs.lua), once it has
-- started.
-- ARGV: 1 now  2 execution
-- Answers {number of runs still to create now, ready queue, runs…}.
-- transitions: create
-- uses: clock events ids new_runs queues remaining_runs
local x = ARGV[2]
local at = P .. ':plan:' .. x
local state, answer = redis.call('HGET', P .. ':exec:' .. x, 'state'), {0}
local left = tonumber(redis.call('HGET', at, 'rest'))
if not left then
  redis.call('ZREM', P .. ':incomplete', x)
elseif state == 'started' then
  redis.call('HLEN', P .. ':numbers')   -- fails before anything is written if that key was overwritten
  local room, x_text = AT_ONCE, text_of(x)
  for _, i in ipairs(cmsgpack.unpack(redis.call('HGET', at, 'group:' .. redis.call('HGET', at, 'at')))) do
    local from = tonumber(redis.call('HGET', at, 'rest:' .. i))
    if from and room > 0 then
      local step = cmsgpack.unpack(redis.call('HGET', at, 'step:' .. i))
      local r, n = step[1], math.min(step[2] - from, room_for(step[1], room))
      if n > 0 then
        if step[4] > 0 then r[F.due_us] = 0 end
        room = room_after(r, n, room)
        local made = make_runs(x, x_text, r, from, n, step[5], true, ids_of_step(x, i))
        event('run.created', r[F.task], made[1], x, text(n))
        for _, id in ipairs(made) do make_ready(id, r) end
        if from + n < step[2] then
          redis.call('HSET', at, 'rest:' .. i, from + n)
        else
          redis.call('HDEL', at, 'rest:' .. i)
        end
        left = left - n
      end
    end
  end
  redis.call('HSET', at, 'rest', left)
  redis.call('HINCRBY', at, 'version', 1)
  if left <= 0 then rest_is_over(x) end
  answer[1] = left
end
add_ready(answer)
return answer
