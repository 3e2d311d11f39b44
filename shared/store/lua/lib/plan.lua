-- Plans: hash `plan:<execution>` of each execution that begins with more than one run or has more than one step, kept
-- as long as any of its runs. Fields:
--   task, created, steps, groups, at (the group that runs), version; start, over (times)
--   desired     'stopped' once that was requested
--   reason, failure  why a step failed for good, as a word and as a sentence
--   step:<i>    from 0: msgpack {record to create its runs from, how many, steps it needs, group, replica indexes or {}
--               for all, runs that it takes over {replica, id as text}}. A group of -1 is never run: its runs are those
--               of another execution
--   group:<g>   msgpack {i, …}
--   needed:<i>  another step needs it
--   ok:<i>:<replica>  the run that succeeded, if its step is needed
--   ended:<i>   why the step did not succeed
--   rest, rest:<i>  runs that are left to create (lib/remaining_runs.lua)
-- uses: clock definitions ids records
local function step_of(x, i) return cmsgpack.unpack(redis.call('HGET', P .. ':plan:' .. x, 'step:' .. i)) end

local function steps_in(x, group)
  return cmsgpack.unpack(redis.call('HGET', P .. ':plan:' .. x, 'group:' .. group))
end

-- Notes that execution x needs the outputs of a run of another execution; drops such notes of executions that are over.
local function retain_outputs(id, x)
  if redis.call('EXISTS', P .. ':run:' .. id) == 0 then return end
  local at, retained = P .. ':meta:' .. id, x
  for other in string.gmatch(redis.call('HGET', at, 'retained_for') or '', string.rep('.', 16)) do
    if redis.call('EXISTS', P .. ':exec:' .. other) == 1 then retained = retained .. other end
  end
  redis.call('HSET', at, 'retained_for', retained)
end

local function keep_plan(x, task, steps)
  local at, groups, needed = P .. ':plan:' .. x, {}, {}
  for i, step in ipairs(steps) do
    for _, need in ipairs(step[3]) do needed[need] = true end
    if step[4] >= 0 then
      groups[step[4] + 1] = groups[step[4] + 1] or {}
      table.insert(groups[step[4] + 1], i - 1)
    end
    ref_definition(step[1][F.definition], 1)
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
  for i = 0, (tonumber(redis.call('HGET', P .. ':plan:' .. x, 'steps')) or 0) - 1 do
    unref_definition(step_of(x, i)[1][F.definition])
  end
  redis.call('DEL', P .. ':plan:' .. x)
end

-- Notes why a step, or the execution, did not succeed, if that is worse than the reason before. Answers whether it is.
local MILD = {[R.skipped] = 1, [R.stopped] = 2}
local function note_worse(at, field, reason)
  local before = redis.call('HGET', at, field)
  if before and (MILD[before] or 3) >= (MILD[reason] or 3) then return false end
  redis.call('HSET', at, field, reason)
  return true
end

-- Notes how a run of a plan ended, when it gets no retry.
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
