"""Sessions in memory."""

from dataclasses import replace
from datetime import datetime

from moviehub.adapters.memory.tables import Ids, Tables, page_of, refuse_unstorable
from moviehub.application.storage import Sessions
from moviehub.domain.pages import Page, PageRequest
from moviehub.domain.sessions import BadToken, Session, SignedIn


class MemorySessions(Sessions):
    """Sessions in a dict."""

    def __init__(self, tables: Tables, ids: Ids) -> None:
        self._tables = tables
        self._ids = ids

    async def add(self, user_id: int, *, at: datetime, expires_at: datetime, client: str, address: str) -> Session:
        refuse_unstorable(client, address)
        if user_id not in self._tables.users:
            raise BadToken()
        session = Session(
            id=next(self._ids.sessions),
            user_id=user_id,
            counter=0,
            created_at=at,
            last_used_at=at,
            expires_at=expires_at,
            client=client,
            address=address,
        )
        self._tables.sessions[session.id] = session
        return session

    async def find(self, session_id: int) -> SignedIn | None:
        session = self._tables.sessions.get(session_id)
        return SignedIn(session, self._tables.users[session.user_id]) if session else None

    async def rotate(self, session_id: int, counter: int, *, at: datetime, expires_at: datetime) -> Session | None:
        session = self._tables.sessions.get(session_id)
        if session is None or session.counter != counter or session.ended_at is not None:
            return None
        rotated = replace(session, counter=counter + 1, last_used_at=at, expires_at=expires_at)
        self._tables.sessions[session_id] = rotated
        return rotated

    async def list(self, user_id: int, page: PageRequest, at: datetime) -> Page[Session]:
        live = [each for each in self._tables.sessions.values() if each.user_id == user_id and each.is_live(at)]
        return page_of(sorted(live, key=lambda each: (each.last_used_at, each.id), reverse=True), page)

    async def end(self, session_id: int, at: datetime, *, user_id: int | None = None) -> bool:
        session = self._tables.sessions.get(session_id)
        if session is None or session.ended_at is not None or user_id not in (None, session.user_id):
            return False
        self._tables.sessions[session_id] = replace(session, ended_at=at)
        return session.is_live(at)

    async def end_all(self, user_id: int, at: datetime, *, but: int | None = None) -> None:
        for session in list(self._tables.sessions.values()):
            if session.user_id == user_id and session.id != but:
                await self.end(session.id, at)

    async def end_expired(self, at: datetime, most: int) -> int:
        over = [each for each in self._tables.sessions.values() if each.ended_at is None and each.expires_at <= at]
        chosen = sorted(over, key=lambda each: (each.expires_at, each.id))[:most]
        for session in chosen:
            self._tables.sessions[session.id] = replace(session, ended_at=session.expires_at)
        return len(chosen)
