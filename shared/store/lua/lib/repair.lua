-- Repairs keys of the scheduler's poll that were overwritten. Those whose content lasts seconds or can be found out
-- again are reset. The others are skipped and count as empty, so that they block nothing else.
-- uses: clock
local RESETTABLE = {leader = 'hash', schedulers = 'zset', queues = 'set', ['prune-candidates'] = 'set',
  events = 'stream', ['store-id'] = 'string', contact = 'number', ['rescue-hold'] = 'number', catalog = 'number',
  counter = 'number', ['dramatiq:__heartbeats__'] = 'zset'}
local NOT_POLLED = {'events', 'counter', 'dramatiq:__heartbeats__'}
local reset, not_read = {}, {}   -- the names of the keys that were reset, and of those that were skipped

local function was_reset(name) reset[#reset + 1] = name end

local function is_overwritten(name)
  local key, kind = P .. ':' .. name, RESETTABLE[name]
  local found = redis.call('TYPE', key).ok
  if found == 'string' and kind == 'number' and string.find(redis.call('GET', key), '^%-?%d+$') then found = kind end
  return found ~= 'none' and found ~= kind
end

local function reset_overwritten()
  for name in pairs(RESETTABLE) do
    if is_overwritten(name) then
      redis.call('DEL', P .. ':' .. name)
      -- A version that was not read yet, and a number above all that were taken: not one a second since 1970.
      if name == 'catalog' then redis.call('SET', P .. ':catalog', text(NOW)) end
      if name == 'counter' then redis.call('SET', P .. ':counter', text(math.floor(NOW / 1000000))) end
      was_reset(name)
    end
  end
end

-- Resets overwritten keys that no poll reads, so that no poll fails because of them.
local function reset_not_polled()
  for _, name in ipairs(NOT_POLLED) do
    if is_overwritten(name) then return reset_overwritten() end
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
