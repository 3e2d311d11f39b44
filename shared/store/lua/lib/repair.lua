-- Keys of the scheduler's look that somebody else wrote to. What was in them is lost then; of some it was of the last seconds
-- only, or is found out again, so these are begun anew. Whatever is looked at of others counts as nothing, and stops nothing else.
-- uses: clock
local PASSING = {leader = 'hash', schedulers = 'zset', queues = 'set', ['prune-candidates'] = 'set', events = 'stream', ['store-id'] = 'string',
  contact = 'number', ['rescue-hold'] = 'number', catalog = 'number'}

-- Answers the names of those that were begun anew.
local function reset_overwritten()
  local anew = {}
  for name, kind in pairs(PASSING) do
    local key = P .. ':' .. name
    local found = redis.call('TYPE', key).ok
    if found == 'string' and kind == 'number' and tonumber(redis.call('GET', key)) then found = kind end
    if found ~= 'none' and found ~= kind then
      redis.call('DEL', key)
      if name == 'catalog' then redis.call('SET', key, text(NOW)) end   -- a version that nobody has read yet
      anew[#anew + 1] = name
    end
  end
  return anew
end

local not_seen, seen_not = {}, {}   -- the names of those others, and whether one is among them
local function look(command, key, ...)
  local found = redis.pcall(command, key, ...)
  if type(found) ~= 'table' or not found.err then return found end
  local name = string.sub(key, #P + 2)
  if not seen_not[name] then not_seen[#not_seen + 1], seen_not[name] = name, true end
  return nil
end
