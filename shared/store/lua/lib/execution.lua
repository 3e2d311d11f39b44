-- Executions, while they live: hash `exec:<id>` with task, live (runs not ended), state (delayed, waiting, started),
-- gates (msgpack [[name, max then or 0], …]), overlap, max_queued. With more than one run, list `exec-runs:<id>` names them all.
-- A gate (`task:<name>` for max_concurrent, `limit:<name>` for a shared limit) lets at most max executions through:
-- sorted sets `limit:<name>:holders` and `limit:<name>:waiters`, both in order of arrival. At a limit's gate, single runs that others
-- execute hold slots too, and leases that others took (`slots:<gate>`, see lib/slots.lua).
-- uses: clock events records remaining_runs
local ready = {}   -- queues that runs were added to, and how many: the caller wakes their workers

local function add_ready(answer)
  for queue, runs in pairs(ready) do
    answer[#answer + 1] = queue
    answer[#answer + 1] = runs
  end
end

local function execution_of(id, r)
  if r[F.execution] == '' then return id end
  local hex = string.gsub(r[F.execution], '-', '')
  return (string.gsub(hex, '..', function(pair) return string.char(tonumber(pair, 16)) end))
end

-- The task that a run's execution was started for.
local function target_of(r) return (r[F.target] or '') ~= '' and r[F.target] or r[F.task] end

-- Counts a change of a run towards its execution's version, if that is kept.
local function count_change(id, r, started)
  if (r[F.step] or -1) < 0 then return end
  local at = P .. ':plan:' .. execution_of(id, r)
  redis.call('HINCRBY', at, 'version', 1)
  if started then redis.call('HSETNX', at, 'start', text(r[F.start_us])) end
end

local function runs_of(x)
  local ids = redis.call('LRANGE', P .. ':exec-runs:' .. x, 0, -1)
  if #ids == 0 then return {x} end
  return ids
end

local function gates_of(x)
  local packed = redis.call('HGET', P .. ':exec:' .. x, 'gates')
  return packed and packed ~= '' and cmsgpack.unpack(packed) or {}
end

-- How many a gate lets through. That of a task is as the task is defined now; of one that is not any more, as it was.
local function gate_max(gate)
  if gate[2] == 0 then return tonumber(redis.call('HGET', P .. ':limits', string.sub(gate[1], #'shared:' + 1))) or math.huge end
  local task = string.sub(gate[1], #'task:' + 1)
  local max = redis.call('HGET', P .. ':maxima', task)
  if max then return tonumber(max) end
  return redis.call('HEXISTS', P .. ':tasks', task) == 1 and math.huge or gate[2]
end

local function taken_at(gate)
  return redis.call('ZCARD', P .. ':limit:' .. gate[1] .. ':holders') + redis.call('ZCARD', P .. ':slots:' .. gate[1])
end

-- The run that is due first, and when. Asked for before a script writes anything, it tells whether `due` can be written to.
local function first_due() return redis.call('ZRANGE', P .. ':due', 0, 0, 'WITHSCORES') end

local function schedule_at(id, due_us, first)
  first = first or first_due()
  redis.call('ZADD', P .. ':due', due_us, id)
  if not first[1] or due_us < tonumber(first[2]) then
    redis.pcall('LPUSH', P .. ':wake:scheduler', '')
    redis.pcall('LTRIM', P .. ':wake:scheduler', 0, 0)
  end
end

-- The place of what comes now: a number that only grows. 0, which is before all others, while somebody else's value is in
-- its key: whoever calls this is half-way by then.
local function next_arrival()
  local count = redis.pcall('INCR', P .. ':counter')
  return type(count) == 'number' and count or 0
end

-- The score of a waiting run: priority band (9 first), then arrival. 10 * 2^48 fits a double exactly.
-- One that was given back goes first in its band; of several, whose score is the same, the oldest id.
local function enqueue(id, r, first)
  local arrival = first and 0 or next_arrival()
  redis.call('ZADD', P .. ':queue:' .. r[F.queue], (9 - r[F.priority]) * 281474976710656 + arrival, id)
  redis.pcall('SADD', P .. ':queues', r[F.queue])
  ready[r[F.queue]] = (ready[r[F.queue]] or 0) + 1
end

-- A run that others execute waits nowhere once it is due.
local function make_ready(id, r, first)
  if r[F.due_us] > NOW then schedule_at(id, r[F.due_us], first) elseif r[F.external] == 0 then enqueue(id, r) end
end

local function start_execution(x)
  local arrival = next_arrival()
  for _, gate in ipairs(gates_of(x)) do
    redis.call('ZREM', P .. ':limit:' .. gate[1] .. ':waiters', x)
    redis.call('ZADD', P .. ':limit:' .. gate[1] .. ':holders', arrival, x)
  end
  redis.call('HSET', P .. ':exec:' .. x, 'state', 'started')
  local ids = runs_of(x)
  for _, id in ipairs(ids) do
    local r = load(id)
    if r and r[F.status] == S.pending then make_ready(id, r) end
  end
  if #ids > 1 then make_rest_soon(x) end   -- a step that leaves some makes several
end

-- Whoever waits first at a gate goes through when all its gates have room and it is first at each: nobody overtakes.
-- Whoever stood behind it at its other gates may be first there now.
local function admit(gate_name)
  while true do
    local x = redis.call('ZRANGE', P .. ':limit:' .. gate_name .. ':waiters', 0, 0)[1]
    if not x then return end
    for _, gate in ipairs(gates_of(x)) do
      local at = P .. ':limit:' .. gate[1]
      local known, most = pcall(gate_max, gate)
      if not known then most = gate[2] end   -- somebody else wrote there: a task's as it was, and no shared limit lets any through
      if taken_at(gate) >= most then return end
      if redis.call('ZRANGE', at .. ':waiters', 0, 0)[1] ~= x then return end
    end
    start_execution(x)
    for _, gate in ipairs(gates_of(x)) do
      if gate[1] ~= gate_name then admit(gate[1]) end
    end
  end
end

local function finish_execution(x)
  local gates, was = gates_of(x), redis.call('HMGET', P .. ':exec:' .. x, 'task', 'stop_left')
  local task = was[1]
  if was[2] then redis.pcall('ZREM', P .. ':stopping', x) end   -- stop_more takes it out otherwise
  redis.call('DEL', P .. ':exec:' .. x)
  if redis.call('EXISTS', P .. ':plan:' .. x) == 1 then
    redis.call('HSET', P .. ':plan:' .. x, 'over', text(NOW))
    redis.call('SREM', P .. ':plans:' .. task, x)
  end
  for _, gate in ipairs(gates) do
    redis.call('ZREM', P .. ':limit:' .. gate[1] .. ':holders', x)
    redis.call('ZREM', P .. ':limit:' .. gate[1] .. ':waiters', x)
  end
  event('execution.ended', task, '', x)
  for _, gate in ipairs(gates) do admit(gate[1]) end
end
