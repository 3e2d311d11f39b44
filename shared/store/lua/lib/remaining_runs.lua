-- Runs that are created later: one call creates few enough that other calls wait only briefly, and `create_rest`
-- creates the others of the group once the execution has started. All of them count as live from the beginning. Field
-- `rest` of the plan says how many are left, `rest:<step>` which replica is next; sorted set `incomplete` has the
-- executions with runs left, by when they started (+inf: not yet).
-- uses: clock wakeups
local AT_ONCE, BYTES_AT_ONCE = 200, 1000000

-- How many runs from record r there is room for; `room` is in runs of at most 5 kB. At least two of the first step,
-- however large a record may be: start_execution() relies on that.
local function room_for(r, room)
  local size = math.max(BYTES_AT_ONCE / AT_ONCE, #cmsgpack.pack(r))
  return math.max(room == AT_ONCE and 2 or 0, math.floor(room * BYTES_AT_ONCE / AT_ONCE / size))
end

-- The room that is left after n runs from r.
local function room_after(r, n, room)
  local size = math.max(BYTES_AT_ONCE / AT_ONCE, #cmsgpack.pack(r))
  return math.max(0, room - math.ceil(n * size * AT_ONCE / BYTES_AT_ONCE))
end

local function leave_rest(x, i, from, left)
  local at = P .. ':plan:' .. x
  redis.call('HSET', at, 'rest:' .. i, from)
  redis.call('HINCRBY', at, 'rest', left)
  redis.pcall('ZADD', P .. ':incomplete', 'NX', '+inf', x)
end

-- Has the remaining runs of a started execution created.
local function make_rest_soon(x)
  local waits = redis.pcall('ZSCORE', P .. ':incomplete', x)
  if type(waits) ~= 'string' then return end   -- there are none, or the key was overwritten
  redis.call('ZADD', P .. ':incomplete', NOW, x)
  wake_scheduler()
end

local function rest_is_over(x)
  redis.call('HDEL', P .. ':plan:' .. x, 'rest')
  redis.pcall('ZREM', P .. ':incomplete', x)   -- create_rest removes it if this fails
end
