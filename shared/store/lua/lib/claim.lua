-- Claims the first waiting run of the queues for a slot of a worker, with a lease and a fencing token.
-- wanted: {worker, slot, turn, lease_us, {queue, …}}. A slot that repeats its call for the same turn gets the same run,
-- so a lost answer loses no run. Answers {id, record, waiting} or nil.
-- A token is a counter and part of the time: a replica that took over may have missed a claim, and its counter alone
-- would give the same token to the next worker that claims the run.
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

-- Writes the keys that a claim changes beside the run, and answers the fencing token. It comes before any change of the
-- run, because it fails when one of these keys was overwritten.
local function reserve(id, wanted)
  local turns = P .. ':claims:' .. wanted[1]
  local count = redis.call('INCR', P .. ':counter')
  redis.call('HSET', turns, wanted[2], id .. wanted[3])
  redis.call('PEXPIRE', turns, 86400000)
  redis.call('ZADD', P .. ':leases', NOW + wanted[4], id)
  return count * 4096 + NOW % 4096
end

-- Claims a waiting run. Answers its record, nil when the run may not be claimed, or false and the error when no run can
-- be claimed now.
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
        redis.call('ZADD', waiting, first[2], id)   -- back to where it waited
        error(why)
      end
      if not sound and not is_running(id) then redis.call('ZREM', P .. ':leases', id) end
      if record or not sound then return {id, sound and record or '', redis.call('ZCARD', waiting)} end
    end
  end
end
