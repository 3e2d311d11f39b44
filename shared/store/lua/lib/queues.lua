-- Places of the pending runs of started executions: sorted set `queue:<queue>`, or `due` until a run is due.
-- uses: clock overwritten wakeups
local ready = {}   -- queue → number of runs added to it: the caller wakes its workers

local function add_ready(answer)
  for queue, runs in pairs(ready) do
    answer[#answer + 1] = queue
    answer[#answer + 1] = runs
  end
end

-- The run that is due first, and when. It is read before a script writes anything, and fails if `due` was overwritten.
local function first_due() return redis.call('ZRANGE', P .. ':due', 0, 0, 'WITHSCORES') end

local function schedule_at(id, due_us, first)
  first = first or first_due()
  redis.call('ZADD', P .. ':due', due_us, id)
  if not first[1] or due_us < tonumber(first[2]) then wake_scheduler() end
end

-- The next number in order of arrival. 0, which comes before all others, if the key was overwritten: the script that
-- calls this is half-way by then.
local function next_arrival()
  local count = redis.pcall('INCR', P .. ':counter')
  return type(count) == 'number' and count or 0
end

-- The score of a waiting run: priority band (9 first), then arrival. 10 * 2^48 fits a double exactly.
-- A run that was given back comes first in its band; of several such runs, the one with the smallest id.
local function enqueue(id, r, first)
  local arrival = first and 0 or next_arrival()
  replacing('ZADD', P .. ':queue:' .. r[F.queue], (9 - r[F.priority]) * 281474976710656 + arrival, id)
  redis.pcall('SADD', P .. ':queues', r[F.queue])
  ready[r[F.queue]] = (ready[r[F.queue]] or 0) + 1
end

-- An external run that is due is in neither set.
local function make_ready(id, r, first)
  if r[F.due_us] > NOW then schedule_at(id, r[F.due_us], first) elseif r[F.external] == 0 then enqueue(id, r) end
end
