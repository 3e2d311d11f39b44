-- Repairs keys of the scheduler's poll that were overwritten. Those whose content lasts seconds or can be found out
-- again are reset. The others are skipped and count as empty, so that they block nothing else.
-- uses: clock
local RESETTABLE = {leader = 'hash', schedulers = 'zset', queues = 'set', ['prune-candidates'] = 'set',
  events = 'stream', ['store-id'] = 'string', contact = 'number', ['rescue-hold'] = 'number', catalog = 'number'}
local reset, not_read = {}, {}   -- the names of the keys that were reset, and of those that were skipped

local function was_reset(name) reset[#reset + 1] = name end

local function is_overwritten(name)
  local key, kind = P .. ':' .. name, RESETTABLE[name]
  local found = redis.call('TYPE', key).ok
  if found == 'string' and kind == 'number' and tonumber(redis.call('GET', key)) then found = kind end
  return found ~= 'none' and found ~= kind
end

local function reset_overwritten()
  for name in pairs(RESETTABLE) do
    if is_overwritten(name) then
      redis.call('DEL', P .. ':' .. name)
      if name == 'catalog' then redis.call('SET', P .. ':catalog', text(NOW)) end   -- a version not read yet
      was_reset(name)
    end
  end
end

-- The number in a key, nil when it is empty. Fails for any other value.
local function number_in(name)
  local found = redis.call('GET', P .. ':' .. name)
  assert(not found or tonumber(found), 'no number')
  return found and tonumber(found)
end

local seen = {}
local function look(command, key, ...)
  local found = redis.pcall(command, key, ...)
  if type(found) ~= 'table' or not found.err then return found end
  local name = string.sub(key, #P + 2)
  if not seen[name] then not_read[#not_read + 1], seen[name] = name, true end
  return nil
end
