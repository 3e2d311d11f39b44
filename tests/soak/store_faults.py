"""Takes Valkey away."""

from tests.soak.history import now_us
from tests.soak.soak import Soak
from tests.system.fleet import Fleet


class StoreFaults:
    """Takes Valkey away: frozen, or killed and started again; and makes it forget the scripts."""

    def __init__(self, soak: Soak, fleet: Fleet) -> None:
        self._soak, self._server = soak, fleet.redis

    def work(self) -> None:
        """Do the plan."""
        for action in self._soak.actions("store"):
            if not self._soak.wait_for(action.at_s):
                return
            from_us = now_us()
            if action.what == "flush_scripts":
                with self._server.client() as client:
                    client.script_flush()
                self._soak.chaos.add("flush_scripts")
                continue
            if action.what == "freeze":
                self._server.freeze()
                self._soak.calm.wait(action.args["for_s"])
                self._server.thaw()
            else:
                self._server.kill()
                self._server.start()
            self._soak.chaos.add("away", of="store", how=action.what, from_us=from_us, to_us=now_us())
