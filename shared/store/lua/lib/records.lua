-- Records and their indexes. A run is one string, `run:<id>`: a msgpack array (see runs.Record).
-- Every list that can be read is a union of sorted sets `ix:<scope>:<state>:<order>`:
--   scope  all | t:<task>            state  pending | running | <end reason>
--   order  created (all: microseconds, t: the run's number) | start | duration | exit
-- and, for runs created through another system's API, `ix:via:<api>:<state>:created`: the newest attempt of each
-- execution.
-- uses: clock
local function load(id)
  local value = redis.call('GET', P .. ':run:' .. id)
  return value and cmsgpack.unpack(value)
end

-- As `load`, but nil for a value that is no record: one that was overwritten must not fail a call for many runs.
local function load_sound(id)
  local sound, r = pcall(load, id)
  return sound and type(r) == 'table' and type(r[F.status]) == 'string' and r or nil
end

local function save(id, r) redis.call('SET', P .. ':run:' .. id, cmsgpack.pack(r)) end

local function state_of(r)
  if r[F.status] == S.ended then return r[F.reason] end
  return r[F.status]
end

local function index(id, r)
  local state = state_of(r)
  local all, task = P .. ':ix:all:' .. state, P .. ':ix:t:' .. r[F.task] .. ':' .. state
  redis.call('ZADD', all .. ':created', r[F.created_us], id)
  redis.call('ZADD', task .. ':created', r[F.number], id)
  if (r[F.via] or '') ~= '' then
    redis.call('ZADD', P .. ':ix:via:' .. r[F.via] .. ':' .. state .. ':created', r[F.created_us], id)
  end
  if state == S.pending then return end
  redis.call('ZADD', all .. ':start', r[F.start_us], id)
  redis.call('ZADD', task .. ':start', r[F.start_us], id)
  if state == S.running then return end
  local duration = r[F.start_us] > 0 and r[F.end_us] - r[F.start_us] or 0
  redis.call('ZADD', all .. ':duration', duration, id)
  redis.call('ZADD', task .. ':duration', duration, id)
  redis.call('ZADD', all .. ':exit', r[F.exit_code], id)
  redis.call('ZADD', task .. ':exit', r[F.exit_code], id)
end

local ORDERS = {[S.pending] = {':created'}, [S.running] = {':created', ':start'}}
local function unlist(id, r)
  if (r[F.via] or '') ~= '' then
    redis.call('ZREM', P .. ':ix:via:' .. r[F.via] .. ':' .. state_of(r) .. ':created', id)
  end
end

local function unindex(id, r)
  local state = state_of(r)
  unlist(id, r)
  for _, order in ipairs(ORDERS[state] or {':created', ':start', ':duration', ':exit'}) do
    redis.call('ZREM', P .. ':ix:all:' .. state .. order, id)
    redis.call('ZREM', P .. ':ix:t:' .. r[F.task] .. ':' .. state .. order, id)
  end
end

local function name_of(r) return r[F.task] .. '#' .. text(r[F.number]) end
