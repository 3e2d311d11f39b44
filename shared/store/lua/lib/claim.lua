-- Gives the first waiting run of the queues to a slot of a worker, with a lease and a fencing token.
-- wanted: {worker, slot, turn, lease_us, {queue, …}}. A slot asking again for the same turn gets the same run: an answer
-- that was lost on the way loses no run. Answers {id, record, waiting} or nil.
-- A token is a count and some of the time: a replica that took over may not have heard of a claim, and would give the same
-- count to the next who claims this run.
local function claimed_before(wanted)
  local before = redis.call('HGET', P .. ':claims:' .. wanted[1], wanted[2])
  if not before or string.sub(before, 17) ~= wanted[3] then return nil end
  local id = string.sub(before, 1, 16)
  local r = load_sound(id)
  if r and r[F.status] == 'running' and r[F.worker] == wanted[1] then
    return {id, whole(redis.call('GET', P .. ':run:' .. id)), 0}
  end
end

-- Gives a run that waited; its record, nil when it may not be claimed.
local function take(id, wanted)
  local r = load(id)
  assert(not r or type(r[F.status]) == 'string', 'no record')
  if not r or r[F.status] ~= 'pending' then return nil end
  local worker, turns = wanted[1], P .. ':claims:' .. wanted[1]
  unindex(id, r)
  r[F.status], r[F.start_us], r[F.worker] = 'running', NOW, worker
  r[F.message] = ''   -- why it waited, if it was given back
  r[F.token] = redis.call('INCR', P .. ':counter') * 4096 + NOW % 4096
  index(id, r)
  save(id, r)
  redis.call('ZADD', P .. ':leases', NOW + wanted[4], id)
  redis.call('HSET', turns, wanted[2], id .. wanted[3])
  redis.call('PEXPIRE', turns, 86400000)
  bump(id, r, true)
  event('run.started', r[F.task], id, execution_of(id, r), worker)
  return whole(cmsgpack.pack(r))
end

local function claim(wanted)
  local before = claimed_before(wanted)
  if before then return before end
  for _, queue in ipairs(wanted[5]) do
    local waiting = P .. ':queue:' .. queue
    while redis.call('SISMEMBER', P .. ':queues:paused', queue) == 0 do
      local id = redis.call('ZPOPMIN', waiting)[1]
      if not id then break end
      local sound, record = pcall(take, id, wanted)
      if record or not sound then return {id, sound and record or '', redis.call('ZCARD', waiting)} end
    end
  end
end
