-- The parts of core/create.lua: checks, each of which answers nil or the answer that ends the call, and the creation of
-- the first group.
-- uses: clock new_runs remaining_runs texts
local function made_before(x, o)
  if o.idempotency_key ~= '' then
    local run, digest = unpack(redis.call('HMGET', P .. ':idempotency:' .. o.idempotency_key, 'run', 'digest'))
    if run and digest ~= o.digest then return {'mismatch'} end
    if run then return {'repeated', run, whole(redis.call('GET', P .. ':run:' .. run))} end
  end
  local known_as = o.dedupe_key ~= '' and redis.call('GET', P .. ':dedupe:' .. o.dedupe_key)
  if known_as then return {'exists', known_as, whole(redis.call('GET', P .. ':run:' .. known_as))} end
  local existing = redis.call('GET', P .. ':run:' .. x)
  return existing and {'exists', x, whole(existing)}
end

local function has_other_definition(r, o)
  for _, step in ipairs(not o.known and {} or o.plan or {{r}}) do
    local entry = redis.call('HGET', P .. ':tasks', step[1][F.task])
    if not entry or cmsgpack.unpack(entry)[1] ~= step[1][F.definition] then return {'definition_changed'} end
  end
end

local function exceeds_quota(task, n, o)
  if o.most_pending == 0 then return nil end
  local pending = redis.call('ZCARD', P .. ':ix:t:' .. task .. ':' .. S.pending .. ':created')
  return pending + n > o.most_pending and {'quota', pending}
end

local function misses_tick(task, o)
  if o.tick_us == 0 then return nil end
  local last = tonumber(redis.call('HGET', P .. ':ticks', task)) or 0
  -- A tick more than 10 s ahead was written before the clock went back, and is ignored.
  if last <= NOW + 10000000 then
    if last >= o.tick_us or (o.after > 0 and last > 0 and last ~= o.after) then return {'stale'} end
  end
  if redis.call('SISMEMBER', P .. ':paused', task) == 1 then
    redis.call('HSET', P .. ':ticks', task, text(o.tick_us))
    return {'paused'}
  end
end

-- Creates as many of the first group's n runs as one call may, with the given ids. `last` is the number of the last
-- one, if the numbers were taken before. Answers the ids of the created runs.
local function make_first_group(n, ids, x, x_text, steps, listed, last)
  local taken, room, made = 0, AT_ONCE, {}
  for number, step in ipairs(steps) do
    if step[4] == 0 then
      local from, count = taken, 1
      if n > 1 then
        count = math.min(step[2], room_for(step[1], room))
        room = room_after(step[1], count, room)
      end
      taken = taken + step[2]
      if count < step[2] then leave_rest(x, number - 1, count, step[2] - count) end
      local function id_at(i) return string.sub(ids, (from + i) * 16 + 1, (from + i) * 16 + 16) end
      for _, id in ipairs(make_runs(x, x_text, step[1], 0, count, step[5], listed, id_at, last)) do
        made[#made + 1] = id
      end
    end
  end
  return made
end

-- Stores the keys that made_before looks up.
local function note_keys(x, o)
  if o.dedupe_key ~= '' then
    redis.call('SET', P .. ':dedupe:' .. o.dedupe_key, x)
    redis.call('HSET', P .. ':meta:' .. x, 'dedupe_key', o.dedupe_key)
  end
  if o.idempotency_key ~= '' then
    redis.call('HSET', P .. ':idempotency:' .. o.idempotency_key, 'run', x, 'digest', o.digest)
    redis.call('EXPIRE', P .. ':idempotency:' .. o.idempotency_key, 86400)
  end
end
