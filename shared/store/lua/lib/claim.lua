-- Gives the first waiting run of the queues to a slot of a worker, with a lease and a fencing token.
-- wanted: {worker, slot, turn, lease_us, {queue, …}}. A slot asking again for the same turn gets the same run: an
-- answer that was lost on the way loses no run. Answers {id, record, waiting} or nil.
-- A token is a count and some of the time: a replica that took over may not have heard of a claim, and would give the
-- same count to the next who claims this run.
-- uses: clock events execution records texts
local function claimed_before(wanted)
  local before = redis.call('HGET', P .. ':claims:' .. wanted[1], wanted[2])
  if not before or string.sub(before, 17) ~= wanted[3] then return nil end
  local id = string.sub(before, 1, 16)
  local r = load_sound(id)
  if r and r[F.status] == S.running and r[F.worker] == wanted[1] then
    return {id, whole(redis.call('GET', P .. ':run:' .. id)), 0}
  end
end

local function is_running(id)
  local r = load_sound(id)
  return r ~= nil and r[F.status] == S.running
end

-- What a claim needs beside the run, before anything of that is changed: it may fail because of what somebody else
-- wrote to a key. Answers the fencing token.
local function reserve(id, wanted)
  local turns = P .. ':claims:' .. wanted[1]
  local count = redis.call('INCR', P .. ':counter')
  redis.call('HSET', turns, wanted[2], id .. wanted[3])
  redis.call('PEXPIRE', turns, 86400000)
  redis.call('ZADD', P .. ':leases', NOW + wanted[4], id)
  return count * 4096 + NOW % 4096
end

-- Gives a run that waited; its record, nil when it may not be claimed. False and why when nothing can be, for now.
local function take_run(id, wanted)
  local r = load(id)
  assert(not r or type(r[F.status]) == 'string', 'no record')
  if not r or r[F.status] ~= S.pending then return nil end
  local worker, reserved, token = wanted[1], pcall(reserve, id, wanted)
  if not reserved then return false, token end
  unindex(id, r)
  r[F.status], r[F.start_us], r[F.worker] = S.running, NOW, worker
  r[F.message] = ''   -- why it waited, if it was given back
  r[F.token] = token
  index(id, r)
  save(id, r)
  count_change(id, r, true)
  event('run.started', r[F.task], id, execution_of(id, r), worker)
  return whole(cmsgpack.pack(r))
end

local function claim_next(wanted)
  local before = claimed_before(wanted)
  if before then return before end
  for _, queue in ipairs(wanted[5]) do
    local waiting = P .. ':queue:' .. queue
    while redis.call('SISMEMBER', P .. ':queues:paused', queue) == 0 do
      local first = redis.call('ZPOPMIN', waiting)
      local id = first[1]
      if not id then break end
      local sound, record, why = pcall(take_run, id, wanted)
      if why then
        redis.call('ZADD', waiting, first[2], id)   -- it waits on, where it was
        error(why)
      end
      if not sound and not is_running(id) then redis.call('ZREM', P .. ':leases', id) end
      if record or not sound then return {id, sound and record or '', redis.call('ZCARD', waiting)} end
    end
  end
end
