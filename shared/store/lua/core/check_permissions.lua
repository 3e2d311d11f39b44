-- Which commands the user of this connection may not use. Carries none of them out.
-- ARGV: commands as they would be sent, words apart by spaces; a word that starts with @ is below our prefix
-- Answers the names of those that are refused, or nothing at all (nil) when the server can't tell.
-- flags: no-writes
if not redis.acl_check_cmd then return false end
local refused = {}
for _, line in ipairs(ARGV) do
  local words = {}
  for word in string.gmatch(line, '%S+') do
    words[#words + 1] = string.sub(word, 1, 1) == '@' and KEYS[1] .. ':' .. string.sub(word, 2) or word
  end
  if not redis.acl_check_cmd(unpack(words)) then refused[#refused + 1] = words[1] end
end
return refused
