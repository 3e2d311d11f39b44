-- Gates: a gate (`task:<name>` for max_concurrent, `shared:<name>` for a shared limit) lets at most max executions run.
-- They are in sorted sets `limit:<gate>:holders` and `limit:<gate>:waiters`, both in order of arrival. Slots of a
-- shared limit are held by external runs and leases too (`slots:<gate>`, lib/slots.lua). An execution has its gates in
-- its hash (msgpack [[gate, max at that time or 0], …]).
-- uses: clock execution queues records remaining_runs
local function gates_of(x)
  local packed = redis.call('HGET', P .. ':exec:' .. x, 'gates')
  return packed and packed ~= '' and cmsgpack.unpack(packed) or {}
end

-- The maximum of a gate. A task's is that of its current definition, or the one in the gate if the task was removed.
local function gate_max(gate)
  if gate[2] == 0 then
    return tonumber(redis.call('HGET', P .. ':limits', string.sub(gate[1], #'shared:' + 1))) or math.huge
  end
  local task = string.sub(gate[1], #'task:' + 1)
  local max = redis.call('HGET', P .. ':maxima', task)
  if max then return tonumber(max) end
  return redis.call('HEXISTS', P .. ':tasks', task) == 1 and math.huge or gate[2]
end

local function taken_at(gate)
  return redis.call('ZCARD', P .. ':limit:' .. gate[1] .. ':holders') + redis.call('ZCARD', P .. ':slots:' .. gate[1])
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
  if #ids > 1 then make_rest_soon(x) end   -- an execution with runs left to create has at least two
end

-- Starts the execution that waits first at a gate, if it is first at all its gates and each has room: none overtakes.
-- The next one at its other gates may then be first there.
local function admit(gate_name)
  while true do
    local x = redis.call('ZRANGE', P .. ':limit:' .. gate_name .. ':waiters', 0, 0)[1]
    if not x then return end
    for _, gate in ipairs(gates_of(x)) do
      local at = P .. ':limit:' .. gate[1]
      local known, most = pcall(gate_max, gate)
      if not known then most = gate[2] end   -- overwritten: the maximum in the gate, 0 for a shared limit
      if taken_at(gate) >= most then return end
      if redis.call('ZRANGE', at .. ':waiters', 0, 0)[1] ~= x then return end
    end
    start_execution(x)
    for _, gate in ipairs(gates_of(x)) do
      if gate[1] ~= gate_name then admit(gate[1]) end
    end
  end
end
