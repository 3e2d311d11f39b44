-- What is large of the parameters, tags and labels of an execution's runs is kept once for all of them (lib/sharing.lua): hash
-- `texts:<execution>`, SHA-1 of a text: the text (JSON). A record, also that of a plan's step, has a reference of 78
-- characters in its place: '@text:', the execution and the SHA-1 in hex. Scripts move records as they are; who answers one
-- puts the texts back (`whole`). The hash goes with the last run of the execution (forget.lua).

-- The text that a field of a record stands for.
local function text_behind(field)
  if string.sub(field, 1, 6) ~= '@text:' then return field end
  local x = string.gsub(string.sub(field, 7, 38), '..', function(pair) return string.char(tonumber(pair, 16)) end)
  return redis.call('HGET', P .. ':texts:' .. x, string.sub(field, 39)) or field
end

-- A packed record (or false) as whoever asks for it is to see it. PACKED is how a packed reference begins; no text of a record
-- holds that, for it is no UTF-8.
local PACKED, texts = '\217N@text:', nil
local function whole(packed)
  local at = packed and string.find(packed, PACKED, 1, true)
  if not at then return packed end
  texts = texts or {}   -- reference: text, packed
  local from, parts = 1, {}
  while at do
    local field = string.sub(packed, at + 2, at + 79)
    texts[field] = texts[field] or cmsgpack.pack(text_behind(field))
    parts[#parts + 1] = string.sub(packed, from, at - 1)
    parts[#parts + 1] = texts[field]
    from = at + 80
    at = string.find(packed, PACKED, from, true)
  end
  parts[#parts + 1] = string.sub(packed, from)
  return table.concat(parts)
end
