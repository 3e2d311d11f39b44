-- Which life of the store this is: a name that it gets when it is empty. Another name than before: it was wiped.
-- uses: clock
local function store_id()
  local id = redis.call('GET', P .. ':store-id')
  if id then return id end
  redis.call('SET', P .. ':store-id', text(NOW))
  return text(NOW)
end
