-- The id of the store's data, written when the store is empty. Another id than before means that the store was wiped.
-- uses: clock
local function store_id()
  local id = redis.call('GET', P .. ':store-id')
  if id then return id end
  redis.call('SET', P .. ':store-id', text(NOW))
  return text(NOW)
end
