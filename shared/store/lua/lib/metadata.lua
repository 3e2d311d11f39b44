-- The metadata of a run: hash `meta:<run>`, the fields that a dialect keeps beside the record. It goes with the run.
-- A script takes them as its last arguments, if there are any: run, field to compare or '', its expected value ('' for
-- none), then pairs of field and value; an empty value deletes the field.
-- uses: clock
local function metadata_from(i)
  return ARGV[i] and {run = ARGV[i], field = ARGV[i + 1], value = ARGV[i + 2], first = i + 3}
end

local function metadata_fits(a)
  return a.field == '' or (redis.call('HGET', P .. ':meta:' .. a.run, a.field) or '') == a.value
end

-- Whether all fields have their new values: then this is a repeated call.
local function metadata_is_written(a)
  for i = a.first, #ARGV, 2 do
    if (redis.call('HGET', P .. ':meta:' .. a.run, ARGV[i]) or '') ~= ARGV[i + 1] then return false end
  end
  return true
end

-- Whether the compared field has its new value: then this is a repeated call.
local function guard_is_written(a)
  local now = redis.call('HGET', P .. ':meta:' .. a.run, a.field)
  for i = a.first, #ARGV, 2 do
    if ARGV[i] == a.field and ARGV[i + 1] == now then return true end
  end
  return false
end

local function write_metadata(a)
  local at = P .. ':meta:' .. a.run
  for i = a.first, #ARGV, 2 do
    if ARGV[i + 1] == '' then redis.call('HDEL', at, ARGV[i]) else redis.call('HSET', at, ARGV[i], ARGV[i + 1]) end
  end
end
