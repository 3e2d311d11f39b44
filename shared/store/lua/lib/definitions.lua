-- Definitions: hash `def:<hash>` with body and signature. It counts those that refer to it (`refs`: the catalog, plans,
-- runs), and goes with the last of them.
-- uses: clock
local function ref_definition(hash, n) redis.call('HINCRBY', P .. ':def:' .. hash, 'refs', n) end

local function unref_definition(hash)
  if redis.call('HINCRBY', P .. ':def:' .. hash, 'refs', -1) <= 0 then redis.call('DEL', P .. ':def:' .. hash) end
end

-- What of a task's definition scripts go by, each from its body (JSON).
local function decoded(body)
  local is_json, task = pcall(cjson.decode, body)
  return is_json and type(task) == 'table' and task or nil
end

-- Notes the variables that the task's secrets are made of; no body: the task goes.
local function note_secrets(name, body)
  local found = {}
  for _, value in pairs((decoded(body) or {}).secrets or {}) do
    for variable in string.gmatch((string.gsub(value, '%$%${', '')), '%${([%a_][%w_]*)}') do
      found[#found + 1] = variable
    end
  end
  table.sort(found)
  local now, key = table.concat(found, ' '), P .. ':secret-variables'
  if now == (redis.call('HGET', key, name) or '') then return end
  if now == '' then redis.call('HDEL', key, name) else redis.call('HSET', key, name, now) end
  redis.call('INCR', key .. ':version')
end

-- Most executions at once (`maxima`): that of the newest definition holds also for those that wait already.
local function note_max(name, body)
  local max = tonumber((decoded(body) or {}).max_concurrent)
  if max then redis.call('HSET', P .. ':maxima', name, text(max)) else redis.call('HDEL', P .. ':maxima', name) end
end

-- A task that is removed leaves the bounds of its history (`retired`: msgpack {keep_runs, keep_for_ms}, 0 for the
-- default), which go with the last of its runs: it may have been removed by mistake.
local function note_bounds(name, hash)
  local task = decoded(redis.call('HGET', P .. ':def:' .. hash, 'body') or '')
  if not task then return end
  local bounds = {tonumber(task.keep_runs) or 0, tonumber(task.keep_for_ms) or 0}
  redis.call('HSET', P .. ':retired', name, cmsgpack.pack(bounds))
end
