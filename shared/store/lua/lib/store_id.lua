-- Which life of the store this is: a name it gets when it is empty. Another name than before means that it was wiped.
-- uses: clock
local function store_id()
  redis.call('SET', P .. ':store-id', text(NOW), 'NX')
  return redis.call('GET', P .. ':store-id')
end
