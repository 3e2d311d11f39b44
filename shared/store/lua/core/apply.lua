-- Makes the tasks of a file the catalog, in one step. Tasks made through the API stay; a file's task replaces one of
-- theirs, and theirs never one of the file's: that is kept.
-- ARGV: 1 now  2 source ('file' | 'api')  3 '1' to remove the source's tasks that are not named
--       4 limits (msgpack {name: max}) or '' to leave them  5 number that the file applied last must have, '' for any
--       6 what is applied (lib/applied.lua, msgpack) or ''  7 '1' when a signature may be replaced by none
--       8… per task: name, hash, body, signature, schedule ('' for none)
-- Answers {added…}, {changed…}, {removed…}, {unchanged…}, {owned by the file…}; {'stale'} when another file was applied
-- meanwhile, {'repeated'} when this was done before, and its answer lost.
-- uses: apply
return apply_tasks()
