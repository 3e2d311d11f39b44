-- Makes the tasks of a file the catalog, in one step. Tasks made through the API stay; a file's task replaces one of theirs,
-- and theirs never one of the file's: that is kept.
-- ARGV: 1 now  2 source ('file' | 'api')  3 '1' to remove the source's tasks that are not named
--       4 limits (msgpack {name: max}) or '' to leave them  5… per task: name, hash, body, signature, schedule ('' for none)
-- Answers {added…}, {changed…}, {removed…}, {unchanged…}, {kept…}.
-- uses: clock records events execution
local source, added, changed, removed, unchanged, kept, named = ARGV[2], {}, {}, {}, {}, {}, {}
local schedules = 0   -- that came, went or changed: a scheduler has to read the catalog again
local function let_go(hash)
  if redis.call('HINCRBY', P .. ':def:' .. hash, 'refs', -1) <= 0 then redis.call('DEL', P .. ':def:' .. hash) end
end
local function put(i, name, hash, before)
  redis.call('HSET', P .. ':def:' .. hash, 'body', ARGV[i + 2], 'signature', ARGV[i + 3])
  if before and before[1] == hash and before[2] == source then
    unchanged[#unchanged + 1] = name
  else
    if ARGV[i + 4] ~= '' or (before and before[4] ~= '') then schedules = schedules + 1 end
    redis.call('HINCRBY', P .. ':def:' .. hash, 'refs', 1)
    redis.call('HSET', P .. ':tasks', name, cmsgpack.pack({hash, source, text(NOW), ARGV[i + 4]}))
    if before then
      let_go(before[1])
      changed[#changed + 1] = name
    else
      added[#added + 1] = name
    end
    event('task.changed', name, '', '', hash)
  end
  if ARGV[i + 4] == '' then
    redis.call('HDEL', P .. ':ticks', name)
  elseif not before or before[4] ~= ARGV[i + 4] then
    redis.call('HSET', P .. ':ticks', name, text(NOW))   -- a new schedule owes nothing for the past
  end
end
for i = 5, #ARGV, 5 do
  local name = ARGV[i]
  local before = redis.call('HGET', P .. ':tasks', name)
  before = before and cmsgpack.unpack(before)
  named[name] = true
  if before and before[2] == 'file' and source ~= 'file' then
    kept[#kept + 1] = name
  else
    put(i, name, ARGV[i + 1], before)
  end
end
if ARGV[3] == '1' then
  local all = redis.call('HGETALL', P .. ':tasks')
  for i = 1, #all, 2 do
    local entry = cmsgpack.unpack(all[i + 1])
    if entry[2] == source and not named[all[i]] then
      redis.call('HDEL', P .. ':tasks', all[i])
      redis.call('HDEL', P .. ':ticks', all[i])
      redis.call('SREM', P .. ':paused', all[i])
      redis.call('SADD', P .. ':dirty', all[i])
      let_go(entry[1])
      removed[#removed + 1] = all[i]
      if entry[4] ~= '' then schedules = schedules + 1 end
      event('task.removed', all[i], '', '')
    end
  end
end
if ARGV[4] ~= '' then
  local touched = {}
  for _, name in ipairs(redis.call('HKEYS', P .. ':limits')) do touched[name] = true end
  redis.call('DEL', P .. ':limits')
  for name, max in pairs(cmsgpack.unpack(ARGV[4])) do
    redis.call('HSET', P .. ':limits', name, max)
    touched[name] = true
  end
  for name in pairs(touched) do admit('limit:' .. name) end   -- there may be more room now
end
if schedules > 0 then
  redis.call('INCR', P .. ':catalog')
  redis.call('LPUSH', P .. ':wake:scheduler', '')
  redis.call('LTRIM', P .. ':wake:scheduler', 0, 0)
end
return {added, changed, removed, unchanged, kept}
