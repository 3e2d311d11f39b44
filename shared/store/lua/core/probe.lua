-- Says whether Redis would let a script write: a replica, a server that cannot save, or one without enough replicas
-- refuses it before it begins. It changes nothing, and is let through when memory is short: runs still end then.
-- flags: allow-oom
return 1
