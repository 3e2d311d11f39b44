-- Keeps what is large of a record's texts once for its execution x, and refers to it in the record (lib/texts.lua).
-- uses: clock
local references   -- by text, once there are any
local function share_texts(x, r)
  if #r[F.params] <= 256 and #r[F.tags] <= 256 and #r[F.labels] <= 256 then return end   -- bytes that a record has itself
  references = references or {}
  for _, field in ipairs({F.params, F.tags, F.labels}) do
    local text = r[field]
    if #text > 256 and not references[text] then
      local hash = redis.sha1hex(text)
      redis.call('HSET', P .. ':texts:' .. x, hash, text)
      references[text] = '@text:' .. string.gsub(x, '.', function(c) return string.format('%02x', string.byte(c)) end) .. hash
    end
    r[field] = references[text] or text
  end
end
