-- Definitions: hash `def:<hash>` with body, signature and `refs`, the number of its references (from the catalog, plans
-- and runs). It is deleted with the last reference.
-- uses: clock
local function ref_definition(hash, n) redis.call('HINCRBY', P .. ':def:' .. hash, 'refs', n) end

local function unref_definition(hash)
  if redis.call('HINCRBY', P .. ':def:' .. hash, 'refs', -1) <= 0 then redis.call('DEL', P .. ':def:' .. hash) end
end

-- A definition's body (JSON) as a table, or nil.
local function decoded(body)
  local is_json, task = pcall(cjson.decode, body)
  return is_json and type(task) == 'table' and task or nil
end

-- Stores the names of the variables in the task's secrets. An empty body removes them.
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

-- Stores the task's max_concurrent (`maxima`); a new one also applies to executions that wait already.
local function note_max(name, body)
  local max = tonumber((decoded(body) or {}).max_concurrent)
  if max then redis.call('HSET', P .. ':maxima', name, text(max)) else redis.call('HDEL', P .. ':maxima', name) end
end

-- Keeps the retention of a removed task (`retired`: msgpack {keep_runs, keep_for_ms}, 0 for the default) until its last
-- run is pruned: the task may have been removed by mistake.
local function note_bounds(name, hash)
  local task = decoded(redis.call('HGET', P .. ':def:' .. hash, 'body') or '')
  if not task then return end
  local bounds = {tonumber(task.keep_runs) or 0, tonumber(task.keep_for_ms) or 0}
  redis.call('HSET', P .. ':retired', name, cmsgpack.pack(bounds))
end
