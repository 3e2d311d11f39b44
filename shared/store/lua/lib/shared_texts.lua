-- Stores large texts of a record once for its execution x, and refers to them in the record (lib/texts.lua).
-- uses: clock ids
local references   -- by text, once there are any
local function share_texts(x, r)
  -- Up to 256 bytes stay in the record.
  if #r[F.params] <= 256 and #r[F.tags] <= 256 and #r[F.labels] <= 256 then return end
  references = references or {}
  for _, field in ipairs({F.params, F.tags, F.labels}) do
    local value = r[field]
    if #value > 256 and not references[value] then
      local hash = redis.sha1hex(value)
      redis.call('HSET', P .. ':texts:' .. x, hash, value)
      references[value] = '@text:' .. to_hex(x) .. hash
    end
    r[field] = references[value] or value
  end
end
