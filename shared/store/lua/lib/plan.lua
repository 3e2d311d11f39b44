-- Plans: hash `plan:<execution>` of each execution that begins with more than one run or has more than one step, kept as
-- long as any of its runs. Fields: task, created, steps, groups, at (the group that runs), version, start, over (times),
-- desired ('stopped' once that was requested), reason and failure (why a step failed for good, and the sentence that says so);
-- from 0: step:<i> (msgpack {record to make its runs from, how many, steps it needs, group, replica indexes or {} for
-- all, runs it has already {replica, id as text}}), rest and rest:<i> (runs that are left to make, lib/remaining_runs.lua), group:<g> (msgpack {i, …}), needed:<i> (another step needs it),
-- ok:<i>:<replica> (the run that succeeded, if it is needed), ended:<i> (why the step did not succeed). A group of -1 is
-- never run: its runs are another's.
-- uses: clock events execution records remaining_runs states
local function text_of(id)
  local hex = string.gsub(id, '.', function(c) return string.format('%02x', string.byte(c)) end)
  return table.concat({string.sub(hex, 1, 8), string.sub(hex, 9, 12), string.sub(hex, 13, 16), string.sub(hex, 17, 20),
    string.sub(hex, 21)}, '-')
end

local function bytes_of(uuid)
  return (string.gsub(string.gsub(uuid, '-', ''), '..', function(pair) return string.char(tonumber(pair, 16)) end))
end

-- A UUIDv7 of this moment for what is called `purpose`: the same step can only make the same run.
local function id_for(purpose)
  local low, hash = (NOW % 1000) * 4, redis.sha1hex(purpose)
  local tail = string.gsub(string.sub(hash, 1, 16), '..', function(pair) return string.char(tonumber(pair, 16)) end)
  return string.sub(struct.pack('>I8', math.floor(NOW / 1000)), 3) ..
    string.char(112 + math.floor(low / 256), low % 256, 128 + string.byte(tail, 1) % 64) .. string.sub(tail, 2)
end

-- Counts n runs more of a task and notes that it has some; the number of the last one. Before anything of them is written:
-- it fails when somebody else wrote to one of these keys.
local function take_numbers(task, n)
  local last = redis.call('HINCRBY', P .. ':numbers', task, n)
  redis.pcall('ZADD', P .. ':history', 0, task)   -- with the next of its runs otherwise
  return last
end

-- The same in the midst of a script, which has to go on: by the runs that there are, if need be.
local function take_numbers_anyhow(task, n)
  local counted, last = pcall(take_numbers, task, n)
  if counted then return last end
  local greatest = 0
  for _, state in ipairs(STATES) do
    local newest = redis.call('ZREVRANGE', P .. ':ix:t:' .. task .. ':' .. state .. ':created', 0, 0, 'WITHSCORES')[2]
    greatest = math.max(greatest, tonumber(newest) or 0)
  end
  return greatest + n
end

-- Makes n runs of one step from record r, of which `from` were made before; id_at(i) is the id of the i-th, only[i + 1] its
-- replica if not i itself. `last` is the number of the last one, if they were numbered before.
local function make_runs(x, x_text, r, from, n, only, listed, id_at, last)
  local task, made = r[F.task], {}
  last = last or take_numbers_anyhow(task, n)
  redis.call('HINCRBY', P .. ':def:' .. r[F.definition], 'refs', n)
  r[F.created_us] = NOW
  for i = from, from + n - 1 do
    local id = id_at(i)
    r[F.replica_index], r[F.number], r[F.execution] = only[i + 1] or i, last - n + 1 + i - from, id == x and '' or x_text
    if listed then redis.call('RPUSH', P .. ':exec-runs:' .. x, id) end
    if r[F.external_id] ~= '' then redis.call('SADD', P .. ':external:' .. r[F.external_id], id) end
    save(id, r)
    index(id, r)
    made[#made + 1] = id
  end
  return made
end

-- Notes with a run that execution x, which is not its own, will hand on what it put out; of others only those that live.
local function retain_outputs(id, x)
  if redis.call('EXISTS', P .. ':run:' .. id) == 0 then return end
  local at, lent = P .. ':meta:' .. id, x
  for other in string.gmatch(redis.call('HGET', at, 'retained_for') or '', string.rep('.', 16)) do
    if redis.call('EXISTS', P .. ':exec:' .. other) == 1 then lent = lent .. other end
  end
  redis.call('HSET', at, 'retained_for', lent)
end

local function keep_plan(x, task, steps)
  local at, groups, needed = P .. ':plan:' .. x, {}, {}
  for i, step in ipairs(steps) do
    for _, need in ipairs(step[3]) do needed[need] = true end
    if step[4] >= 0 then
      groups[step[4] + 1] = groups[step[4] + 1] or {}
      table.insert(groups[step[4] + 1], i - 1)
    end
    redis.call('HINCRBY', P .. ':def:' .. step[1][F.definition], 'refs', 1)
    redis.call('HSET', at, 'step:' .. i - 1, cmsgpack.pack(step))
    for _, run in ipairs(step[6]) do
      local id = bytes_of(run[2])
      redis.call('HSET', at, 'ok:' .. i - 1 .. ':' .. run[1], id)
      retain_outputs(id, x)
    end
  end
  for g, members in ipairs(groups) do redis.call('HSET', at, 'group:' .. g - 1, cmsgpack.pack(members)) end
  for i in pairs(needed) do redis.call('HSET', at, 'needed:' .. i, '') end
  redis.call('HSET', at, 'task', task, 'created', text(NOW), 'steps', #steps, 'groups', #groups, 'at', 0, 'version', 1)
  if #steps > 1 then redis.call('SADD', P .. ':plans:' .. task, x) end
end

local function drop_plan(x)
  local at = P .. ':plan:' .. x
  for i = 0, (tonumber(redis.call('HGET', at, 'steps')) or 0) - 1 do
    local definition = P .. ':def:' .. cmsgpack.unpack(redis.call('HGET', at, 'step:' .. i))[1][F.definition]
    if redis.call('HINCRBY', definition, 'refs', -1) <= 0 then redis.call('DEL', definition) end
  end
  redis.call('DEL', at)
end

-- Notes why a step, or the execution, did not succeed: of several reasons the worst. Answers whether it was noted.
local MILD = {[R.skipped] = 1, [R.stopped] = 2}
local function note_worse(at, field, reason)
  local before = redis.call('HGET', at, field)
  if before and (MILD[before] or 3) >= (MILD[reason] or 3) then return false end
  redis.call('HSET', at, field, reason)
  return true
end

-- Notes what became of a run of a plan for good.
local function record_step_result(x, id, r)
  local at, i, reason = P .. ':plan:' .. x, text(r[F.step]), r[F.reason]
  if reason == R.success then
    if redis.call('HEXISTS', at, 'needed:' .. i) == 1 then
      redis.call('HSET', at, 'ok:' .. i .. ':' .. text(r[F.replica_index]), id)
    end
    return
  end
  note_worse(at, 'ended:' .. i, reason)
  if note_worse(at, 'reason', reason) then redis.call('HSET', at, 'failure', name_of(r) .. ' ended as ' .. reason) end
end

-- No run of the group is live any more: makes the next group, or says of all later steps why they never run. Answers
-- whether there is something to run.
local function start_next_group(x)
  local at = P .. ':plan:' .. x
  local p = redis.call('HMGET', at, 'at', 'groups', 'reason', 'failure', 'desired')
  local group, groups = tonumber(p[1]), tonumber(p[2])
  if not group or group + 1 >= groups then return false end
  local x_text, live, room = text_of(x), 0, AT_ONCE
  local why = p[3] and 'skipped: ' .. p[4] or p[5] and 'skipped: the execution was stopped'
  for g = group + 1, why and groups - 1 or group + 1 do
    for _, i in ipairs(cmsgpack.unpack(redis.call('HGET', at, 'group:' .. g))) do
      local step = cmsgpack.unpack(redis.call('HGET', at, 'step:' .. i))
      local r, all = step[1], why and 1 or step[2]
      local n = math.min(all, why and 1 or room_for(r, room))
      r[F.due_us] = 0
      if why then
        r[F.status], r[F.reason], r[F.exit_code], r[F.message], r[F.end_us] = S.ended, R.skipped, -1, why, NOW
        redis.pcall('SADD', P .. ':prune-candidates', r[F.task])
        redis.call('HSET', at, 'ended:' .. i, R.skipped)
      end
      local counted, last = pcall(take_numbers, r[F.task], n)
      if not counted and not why then n = 0 end   -- the scheduler makes them, once somebody else's value is out of the way
      local made = n == 0 and {} or make_runs(x, x_text, r, 0, n, step[5], true,
        function(j) return id_for(x .. i .. ':' .. j) end, counted and last)
      if n > 0 then
        event(why and 'run.ended' or 'run.created', r[F.task], made[1], x, why and R.skipped or text(n))
      end
      if not why then
        live, room = live + all, room_after(r, n, room)
        for _, id in ipairs(made) do make_ready(id, r) end
        if n < all then leave_rest(x, i, n, all - n) end
      end
    end
  end
  redis.call('HINCRBY', at, 'version', 1)
  redis.call('HSET', at, 'at', why and groups - 1 or group + 1)
  if why and not p[3] then redis.call('HSET', at, 'reason', R.stopped, 'failure', 'it was stopped') end
  if why then return false end
  redis.call('HSET', P .. ':exec:' .. x, 'live', live)
  make_rest_soon(x)
  return true
end
