-- Ids: 16 bytes in keys, hexadecimal in references, the text of a UUID in records.
-- uses: clock
local function to_hex(bytes)
  return (string.gsub(bytes, '.', function(c) return string.format('%02x', string.byte(c)) end))
end

local function from_hex(hex)
  return (string.gsub(hex, '..', function(pair) return string.char(tonumber(pair, 16)) end))
end

local function text_of(id)
  local hex = to_hex(id)
  return table.concat({string.sub(hex, 1, 8), string.sub(hex, 9, 12), string.sub(hex, 13, 16), string.sub(hex, 17, 20),
    string.sub(hex, 21)}, '-')
end

local function bytes_of(uuid) return from_hex((string.gsub(uuid, '-', ''))) end

-- A UUIDv7 of NOW, derived from `purpose`.
local function id_for(purpose)
  local low, tail = (NOW % 1000) * 4, from_hex(string.sub(redis.sha1hex(purpose), 1, 16))
  return string.sub(struct.pack('>I8', math.floor(NOW / 1000)), 3) ..
    string.char(112 + math.floor(low / 256), low % 256, 128 + string.byte(tail, 1) % 64) .. string.sub(tail, 2)
end

-- A function from a replica's index to the id of its run, for step i of an execution.
local function ids_of_step(x, i)
  return function(j) return id_for(x .. i .. ':' .. j) end
end
