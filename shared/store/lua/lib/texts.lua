-- Large parameters, tags and labels of an execution's runs, stored once for all of them (lib/shared_texts.lua): hash
-- `texts:<execution>`, SHA-1 of a text: the text (JSON). A record, also that of a plan's step, has a reference of 78
-- characters in its place: '@text:', the execution and the SHA-1 in hex. Scripts copy records as they are; a script
-- that answers one puts the texts back (`whole`). The hash is deleted with the execution's last run (core/prune.lua).
-- uses: clock ids

-- The text of one of these three fields. A reference whose text is gone stays a reference.
local REFERENCE = '^@text:(' .. string.rep('%x', 32) .. ')(' .. string.rep('%x', 40) .. ')$'
local texts = {}   -- by reference
local function text_behind(field)
  if type(field) ~= 'string' or #field ~= 78 then return field end
  local x, hash = string.match(field, REFERENCE)
  if not hash then return field end
  if not texts[field] then
    local found = redis.pcall('HGET', P .. ':texts:' .. from_hex(x), hash)   -- the key may have been overwritten
    texts[field] = type(found) == 'string' and found or field
  end
  return texts[field]
end

-- A packed record with its texts put back, or false for anything but a string. Only parameters, tags and labels are
-- looked at, which are JSON that we wrote: in any other field, text that looks like a reference came from a client.
local PACKED = '\217N@text:'   -- how a packed reference begins
local function whole(packed)
  if type(packed) ~= 'string' then return false end
  if not string.find(packed, PACKED, 1, true) then return packed end
  local sound, r = pcall(cmsgpack.unpack, packed)
  if not sound or type(r) ~= 'table' then return packed end
  for _, i in ipairs({F.params, F.tags, F.labels}) do r[i] = text_behind(r[i]) end
  return cmsgpack.pack(r)
end
