"""How far the work on an event has come, kept so that whoever goes on after a crash knows."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict

from risk_engine.errors import StateConflictError
from risk_engine.events import KEPT, Assessment, Event
from risk_engine.keys import Keys

KEPT_SECONDS = 86_400.0


class Step(StrEnum):
    """What has been done. PUBLISHING: nobody knows whether it was published, until it says PUBLISHED."""

    RECEIVED = "received"
    PUBLISHING = "publishing"
    PUBLISHED = "published"


class WorkflowState(BaseModel):
    """The state of one event's work; ``fence`` is of the lease under which it was written."""

    model_config = ConfigDict(frozen=True)

    tenant_id: str
    event: Event
    fence: int
    step: Step = Step.RECEIVED
    assessment: Assessment | None = None
    message_id: str = ""
    redelivery: bool = False

    @property
    def result(self) -> Assessment:
        """The assessment of an event that was scored."""
        if self.assessment is None:
            raise StateConflictError(f"event {self.event.event_id!r} was not scored")
        return self.assessment

    def after(self, **changes: Any) -> WorkflowState:
        """The state with these changes."""
        return self.model_copy(update=changes)


class StateStore(Protocol):
    """Refuses whoever comes with an older fence than the newest that has come: StateConflictError."""

    async def claim(self, tenant: str, event: Event, fence: int) -> WorkflowState:
        """What was done of it before, or a new state, which is kept: its id is taken, and older fences are refused."""
        ...

    async def save(self, state: WorkflowState) -> None: ...
    async def get(self, tenant: str, event_id: str) -> WorkflowState | None: ...


class InMemoryStateStore:
    """For tests."""

    def __init__(self) -> None:
        self.states: dict[tuple[str, str], WorkflowState] = {}

    async def claim(self, tenant: str, event: Event, fence: int) -> WorkflowState:
        kept = self.states.get((tenant, event.event_id))
        state = kept.after(fence=fence) if kept else WorkflowState(tenant_id=tenant, event=event, fence=fence)
        if kept and kept.fence > fence:
            raise StateConflictError(event.event_id)
        self.states[tenant, event.event_id] = state
        return state

    async def save(self, state: WorkflowState) -> None:
        where = state.tenant_id, state.event.event_id
        if where in self.states and self.states[where].fence > state.fence:
            raise StateConflictError(state.event.event_id)
        self.states[where] = state

    async def get(self, tenant: str, event_id: str) -> WorkflowState | None:
        return self.states.get((tenant, event_id))


FENCED_WRITE = """
local newest = redis.call('HGET', KEYS[1], 'fence')
if newest and tonumber(newest) > tonumber(ARGV[1]) then return { 0, '' } end
redis.call('HSET', KEYS[1], 'fence', ARGV[1])
local before = ARGV[4] == 'claim' and redis.call('HGET', KEYS[1], 'state') or ''
if before == '' then redis.call('HSET', KEYS[1], 'state', ARGV[2]) end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return { 1, before }
"""


class RedisStateStore:
    """A hash an event, for a day, or for ``keep`` seconds where that is more."""

    def __init__(self, client: Any, keys: Keys, keep: float = KEPT_SECONDS) -> None:
        self._client, self._keys = client, keys
        self._keep_ms = round(max(keep, KEPT_SECONDS) * 1000)
        self._write = client.register_script(FENCED_WRITE)

    async def claim(self, tenant: str, event: Event, fence: int) -> WorkflowState:
        new = WorkflowState(tenant_id=tenant, event=event, fence=fence)
        found = await self._fenced(new, "claim")
        return WorkflowState.model_validate_json(found, context=KEPT).after(fence=fence) if found else new

    async def save(self, state: WorkflowState) -> None:
        await self._fenced(state, "save")

    async def get(self, tenant: str, event_id: str) -> WorkflowState | None:
        found = await self._client.hget(self._keys.of(tenant, "workflow", event_id), "state")
        return WorkflowState.model_validate_json(found, context=KEPT) if found else None

    async def _fenced(self, state: WorkflowState, verb: Literal["claim", "save"]) -> bytes:
        """What a claim found there, and left as it is."""
        name = self._keys.of(state.tenant_id, "workflow", state.event.event_id)
        args = [state.fence, state.model_dump_json(), self._keep_ms, verb]
        written, before = await self._write(keys=[name], args=args)
        if not written:
            raise StateConflictError(state.event.event_id)
        return bytes(before)
