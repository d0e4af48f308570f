"""What goes between the shared breakers of a blocking hub and the server; see :mod:`riskscale.breaker.reporter`.

A thread while there is a breaker. A permit is asked for by the thread whose call needs it.
"""

from __future__ import annotations

import threading

from riskscale._core.call import Call
from riskscale._core.durations import MICRO
from riskscale.breaker import calls
from riskscale.breaker.policy import BreakerPolicy
from riskscale.breaker.replica import Permit, log
from riskscale.breaker.replicas import Replicas
from riskscale.breaker.shared import ANSWER_US, SharedReplica
from riskscale.breaker.state import BreakerInfo, BreakerState
from riskscale.errors import HubClosed
from riskscale.sync.hub import Hub


class Link:
    """One breaker's way to the server."""

    def __init__(self, reporter: Reporter, replica: SharedReplica) -> None:
        self.replica = replica
        self._reporter, self._hub = reporter, reporter.hub

    def start(self) -> None:
        """Report and hear in the background from now on, where there is one; StateError where it cannot."""
        self._reporter.check_home()
        self._reporter.start()

    def refresh(self) -> None:
        """See :meth:`riskscale.breaker.reporter.Link.refresh`."""
        self._reporter.start()
        if not self._reporter.is_home:
            self.replica.strand()
        elif self.replica.is_stale:
            self._reporter.report(self.replica)

    def flush(self) -> None:
        """Tell what is urgent, where there is no background."""
        if not self._hub.lasting:
            self.refresh()

    def ask(self) -> Permit | None:
        """See :meth:`riskscale.breaker.reporter.Link.ask`."""
        replica = self.replica
        token, call = replica.probe()
        try:
            asked = self._hub.run(call)
        except Exception as error:
            replica.not_probed(token, error)
            return None
        except BaseException:
            replica.not_probed(token, None)
            raise
        return replica.probed(token, asked)

    def read(self) -> BreakerInfo:
        """What the server sees."""
        return self._hub.run(calls.read(self.replica.keys, self.replica.name))

    def force(self, state: BreakerState, length_us: int, reason: str) -> None:
        """Change it by hand, for all."""
        self.start()
        self.replica.told(self._hub.run(self.replica.forcing(state, length_us, reason)))


class Reporter(Replicas):
    """For threads."""

    def __init__(self, hub: Hub) -> None:
        super().__init__(hub)
        self.hub = hub
        self._wake = threading.Event()
        self._answered = threading.Condition()
        self._mutex = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_over = False

    def link(self, name: str | None, policy: BreakerPolicy) -> Link:
        """To the breaker of that name."""
        with self._mutex:
            return Link(self, self.replica(name, policy))

    def start(self) -> None:
        """Begin, unless it has, or nothing may outlive a call."""
        if self.hub._closing:
            self.end()
            return
        with self._mutex:
            if not self.hub.lasting or not self.is_home or self._thread is not None:
                return
            self._thread = threading.Thread(target=self._run, name="riskscale-breakers", daemon=True)
            self._thread.start()
        self.hub._leases.add(self)
        self.hub.mailbox.subscribe()

    def report(self, replica: SharedReplica) -> None:
        """Send one and take its reply, or wait for that of another thread's."""
        call = replica.report()
        if call is not None:
            self._send(replica, call)
            return
        with self._answered:
            self._answered.wait_for(lambda: not replica.is_reporting, ANSWER_US / MICRO)

    def give_back(self) -> None:
        """The hub closes: what was not reported yet."""
        self._stop()
        for replica in self:
            while replica.has_news and (call := replica.report()):
                if not self._send(replica, call, last=True):
                    break

    def close(self) -> None:
        """With the hub."""
        self._stop()
        self.end()

    def _stop(self) -> None:
        self._is_over = True
        self._wake.set()
        if self._thread not in (None, threading.current_thread()):
            self._thread.join(ANSWER_US / MICRO)  # unless it hangs in a call

    def _enlist(self, replica: SharedReplica) -> None:
        self.hub.mailbox.add(replica)

    def _run(self) -> None:
        has_failed = False
        while not self._is_over:
            self._wake.clear()
            for replica in self:
                try:
                    replica.look()
                    if replica.due_in <= 0:
                        self.report(replica)
                except Exception as error:  # of one breaker: it must not end what all live by
                    replica.failed(error)
                    if not has_failed:
                        has_failed = True
                        log.exception("breaker %r could not report", replica.name)
            self._wake.wait(self.pause())

    def _send(self, replica: SharedReplica, call: Call[calls.Snapshot], *, last: bool = False) -> bool:
        """Whether there was a reply."""
        try:
            snapshot = self.hub._run(call) if last else self.hub.run(call)
        except HubClosed:
            replica.failed(None)
        except Exception as error:
            replica.failed(error)
        except BaseException:
            replica.failed(None)
            raise
        else:
            replica.reported(snapshot)
            return True
        finally:
            with self._answered:
                self._answered.notify_all()
        return False
