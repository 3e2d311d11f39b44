-- Runs that are made later: a script makes few enough at once that nobody waits for it, and the others of the group are
-- made by `make_rest`, as soon as the execution has started. All of them count as live from the beginning, so from
-- outside the execution is one. Field `rest` of its plan says how many are left, `rest:<step>` which replica is next;
-- sorted set `making` has the executions of which some are left, by when they started (+inf: not yet).
-- uses: clock wakeups
-- At least two, however large a record may be: start_execution() relies on that.
local AT_ONCE, BYTES_AT_ONCE = 200, 1000000

-- How many runs from record r there is room for; `room` is in runs of at most 5 kB.
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
  redis.pcall('ZADD', P .. ':making', 'NX', '+inf', x)
end

-- The execution has started: the others are to be made now.
local function make_rest_soon(x)
  local waits = redis.pcall('ZSCORE', P .. ':making', x)
  if type(waits) ~= 'string' then return end   -- or somebody else wrote there
  redis.call('ZADD', P .. ':making', NOW, x)
  wake_scheduler()
end

local function rest_is_over(x)
  redis.call('HDEL', P .. ':plan:' .. x, 'rest')
  redis.pcall('ZREM', P .. ':making', x)   -- create_rest takes it out otherwise
end
