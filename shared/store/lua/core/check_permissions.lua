-- Lists the commands that the user of this connection may not use, without running any of them.
-- ARGV: commands as they would be sent, words separated by spaces; a word that starts with @ is a key below our prefix
-- Answers the names of the refused commands, or nil when the server cannot tell.
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
