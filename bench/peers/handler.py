"""
A bare Litestar handler that makes one script call with plain redis-py and answers a small record.

``python -m bench.peers.handler <socket> <port>``: what an API that does nothing but store a job would be.
"""

import sys
import uuid

import redis.asyncio
import uvicorn
from litestar import Litestar, post

SCRIPT = """
local number = redis.call('INCR', 'peer:number')
redis.call('HSET', 'peer:job:' .. ARGV[1], 'id', ARGV[1], 'task', ARGV[2], 'number', number, 'status', 'pending')
redis.call('RPUSH', 'peer:queue', ARGV[1])
return number
"""


def main(path: str, port: int) -> None:
    """Serve until killed."""
    client = redis.asyncio.Redis(unix_socket_path=path)
    script = client.register_script(SCRIPT)

    @post("/api/tasks/{task:str}/run")
    async def start(task: str) -> dict[str, str | int]:
        job = str(uuid.uuid4())
        number: int = await script(args=[job, task])
        return {"id": job, "task_name": task, "number": number, "status": "pending"}

    app = Litestar([start], openapi_config=None, logging_config=None)
    uvicorn.run(app, host="127.0.0.1", port=port, loop="uvloop", http="httptools", access_log=False, log_config=None)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
