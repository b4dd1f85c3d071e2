"""People who share a hub: what must be true of it after all they did, and what each of them must see."""

import asyncio
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import httpx
from hypothesis.stateful import RuleBasedStateMachine, invariant

from moviehub.domain.errors import Unauthenticated
from moviehub.entrypoints.use_cases import use_cases
from tests.api import Api, api_in_memory, fields, film, problem

ACCESS_LIFE, IDLE = timedelta(seconds=300), timedelta(days=30)
USERS, ME, TOKEN, SESSIONS = "/api/auth/users/", "/api/auth/users/me/", "/api/auth/token/", "/api/auth/sessions/"


@dataclass(eq=False)
class Account:
    """What an account must be. `marks` are in its private texts, and nobody else may see one."""

    id: int
    name: str
    email: str
    password: str
    bio: str | None
    marks: set[str]
    is_active: bool = True
    is_staff: bool = False
    is_superuser: bool = False
    favorites: list[int] = field(default_factory=list)
    ratings: dict[int, tuple[datetime, int, int, str | None]] = field(default_factory=dict)
    """By film: when it changed, its id, the score and the review."""


@dataclass(eq=False)
class Session:
    """What a session must be."""

    id: int
    account: Account
    created_at: datetime
    used_at: datetime
    expires_at: datetime
    counter: int = 0
    ended: bool = False


@dataclass(eq=False)
class Token:
    """A token that somebody once got; `counter` is None for an access token."""

    text: str
    session: Session
    expires_at: datetime
    counter: int | None


class People(RuleBasedStateMachine):
    """A hub in memory and, beside it, what must be true of it; a subclass has the rules by which people act."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.context = api_in_memory()
        self.api: Api = self.runner.run(self.context.__aenter__())
        self.cases = use_cases(self.api.container)
        self.ids = self.runner.run(self.api.knows(film(1), film(2), film(3)))
        self.films = {*self.ids}
        self.accounts: dict[str, Account] = {}
        self.sessions: list[Session] = []
        self.tokens: list[Token] = []
        self.number = self.turn = 0
        mark = self.mark("root")
        root = {"username": "root", "email": f"{mark}@example.org", "password": "a phrase of root's"}
        made = self.runner.run(self.cases["register"](**root, is_superuser=True))
        self.accounts["root"] = Account(
            made.id, "root", root["email"], "", None, {mark}, is_staff=True, is_superuser=True
        )

    def teardown(self) -> None:
        self.runner.run(self.context.__aexit__(None, None, None))
        self.runner.close()

    # What must be true.

    @property
    def now(self) -> datetime:
        now: datetime = self.api.clock.now()
        return now

    def is_live(self, session: Session) -> bool:
        account = session.account
        there = self.accounts.get(account.name) is account and account.is_active
        return there and not session.ended and self.now < session.expires_at

    def is_good(self, token: Token) -> bool:
        newest = token.counter in (None, token.session.counter)
        return newest and self.is_live(token.session) and self.now < token.expires_at

    def end(self, account: Account, but: Session | None = None) -> None:
        for session in self.sessions:
            session.ended |= session.account is account and session is not but

    def govern(self, account: Account, is_active: bool | None, is_staff: bool | None) -> None:
        account.is_active = account.is_active if is_active is None else is_active
        account.is_staff = account.is_staff if is_staff is None else is_staff
        if not account.is_active:
            self.end(account)

    def of_id(self, number: int) -> Account | None:
        return next((each for each in self.accounts.values() if each.id == number), None)

    # How they ask.

    def mark(self, name: str) -> str:
        self.number += 1
        return f"{name}-private-{self.number}"

    def newest(self, name: str) -> Token | None:
        """The newest token that lets this person in."""
        good = (each for each in reversed(self.tokens) if each.counter is None and self.is_good(each))
        return next((each for each in good if each.session.account.name == name), None)

    def some(self, likely: Iterable[int], pick: int) -> int:
        """Mostly a likely id, else any that anybody ever saw, of whatever it is."""
        ids = sorted(likely) if pick % 4 else self.ids
        return ids[pick // 4 % len(ids)]

    def ask(
        self, method: str, path: str, body: Any = None, *, marks: Iterable[str] | None = (), **more: Any
    ) -> httpx.Response:
        """An answer, in which nothing is private but these marks; None are all."""
        answer = self.runner.run(self.api(method, path, body, **more))
        assert answer.status_code < 500, answer.text
        assert "own phrase" not in answer.text, "no answer holds a password"
        assert "eyJ" not in answer.text or path in (TOKEN, f"{TOKEN}refresh/"), "nor a token, but to who asks for one"
        assert marks is None or {*re.findall(r"\w+-private-\d+", answer.text)} <= {*marks}
        return answer

    def act(
        self, by: Token, method: str, path: str, body: Any = None, **more: Any
    ) -> tuple[httpx.Response, Account | None]:
        """The answer to who has this token, and the account that it lets in."""
        caller = by.session.account if by.counter is None and self.is_good(by) else None
        sees_all = caller is not None and caller.is_staff and re.fullmatch(USERS + r"(\d+/)?", path)
        marks = None if sees_all else caller.marks if caller else ()
        answer = self.ask(method, path, body, token=by.text, marks=marks, **more)
        if caller is None:
            problem(answer, 401, "invalid-token")
        return answer, caller

    def keep(self, answer: httpx.Response, session: Session) -> None:
        told = answer.json()
        self.tokens.append(Token(told["refresh"], session, session.expires_at, session.counter))
        self.tokens.append(Token(told["access"], session, self.now + ACCESS_LIFE, None))

    # How they come.

    def token(self, name: str, pick: int) -> Token:
        """Mostly one that lets this person in, new if need be; else any that anybody ever got, of either kind."""
        if pick % 4 and name not in self.accounts:
            self.register(name, None)
        if pick % 4 and self.newest(name) is None:
            self.sign_in(name, proof=True, by_address=False)
        newest = self.newest(name) if pick % 4 else None
        return newest or self.tokens[pick // 4 % len(self.tokens)]

    def register(self, name: str, of: str | None) -> None:
        mark, other = self.mark(name), self.accounts.get(of or "")
        email = other.email if other else f"{mark}@example.org"
        password = f"own phrase {self.number}"
        body = {"username": name, "email": email, "password": password, "bio": mark}
        answer = self.ask("POST", USERS, body, marks={mark})
        taken = {"username": "taken"} if name in self.accounts else {}
        taken |= {"email": "taken"} if other else {}
        if taken:
            assert fields(answer) == taken
            return
        self.ids.append(answer.json()["user"]["id"])
        self.accounts[name] = Account(self.ids[-1], name, email, password, mark, {mark})

    def sign_in(self, name: str, proof: bool, by_address: bool) -> None:
        account, mark = self.accounts.get(name), self.mark(name)
        login = account.email if account and by_address else name
        body = {"username": login, "password": account.password if account and proof else "not its own phrase"}
        answer = self.ask("POST", TOKEN, body, marks=account.marks if account else (), headers={"User-Agent": mark})
        if account is None or not proof or not account.is_active:
            problem(answer, 401, "bad-credentials")
            return
        assert answer.json()["user"] == {"id": account.id, "username": name, "email": account.email}
        account.marks.add(mark)
        session = Session(0, account, self.now, self.now, self.now + IDLE)
        self.sessions.append(session)
        self.keep(answer, session)
        listed = self.act(self.tokens[-1], "GET", SESSIONS, params={"page_size": 100})[0].json()["results"]
        (session.id,) = (each["id"] for each in listed if each["current"])
        self.ids.append(session.id)

    # What must be seen, whatever they did.

    @invariant()
    def what_is_kept_is_what_its_owners_did(self) -> None:
        kept = self.api.container.storage()._committed
        for user in kept.users.values():
            account = self.accounts[user.username]
            for name in ("id", "email", "bio", "is_active", "is_staff", "is_superuser"):
                assert getattr(user, name) == getattr(account, name), (user.username, name)
        assert len(kept.users) == len(self.accounts)
        live = {session.id: session.user_id for session in kept.sessions.values() if session.is_live(self.now)}
        assert live == {each.id: each.account.id for each in self.sessions if self.is_live(each)}
        accounts = self.accounts.values()
        assert {*kept.favorites} == {(each.id, film_id) for each in accounts for film_id in each.favorites}
        assert {key: (rating.opinion.score, rating.opinion.review) for key, rating in kept.ratings.items()} == {
            (each.id, film_id): rating[2:] for each in accounts for film_id, rating in each.ratings.items()
        }

    @invariant()
    def every_token_works_while_it_lives_and_never_again(self) -> None:
        async def works(token: Token) -> bool:
            try:
                await self.cases["verify_token"](token=token.text)
            except Unauthenticated:
                return False
            return True

        async def working() -> list[bool]:
            return [await works(token) for token in self.tokens]

        assert self.runner.run(working()) == [self.is_good(token) for token in self.tokens]

    @invariant()
    def each_sees_their_own_and_no_more(self) -> None:
        """One person after each step, in turn: there are many more steps."""
        self.turn += 1
        by = self.newest([*self.accounts][self.turn % len(self.accounts)])
        if by is None:
            return
        own = by.session.account
        me = self.act(by, "GET", ME)[0].json()
        assert [me[each] for each in ("id", "username", "email", "bio")] == [own.id, own.name, own.email, own.bio]
        assert me.get("is_staff", False) is own.is_staff
        look = (self.see_favorites, self.see_ratings, self.see_sessions)[self.turn // len(self.accounts) % 3]
        look(by, own)

    def listed(self, by: Token, path: str) -> list[dict[str, Any]]:
        """A list of the caller's own, asked for as if it could be somebody else's."""
        others = {"user_id": self.ids[-1], "user": self.ids[-1], "id": self.ids[-1]}
        results: list[dict[str, Any]] = self.act(by, "GET", path, params=others | {"page_size": 100})[0].json()[
            "results"
        ]
        return results

    def see_favorites(self, by: Token, own: Account) -> None:
        films = [each["movie"]["id"] for each in self.listed(by, "/api/movies/favorites/my_favorites/")]
        assert films == own.favorites[::-1]

    def see_ratings(self, by: Token, own: Account) -> None:
        listed = self.listed(by, "/api/movies/ratings/my_ratings/")
        ratings = sorted(own.ratings.items(), key=lambda each: each[1], reverse=True)
        told = [(each["movie"]["id"], each["id"], each["rating"], each["review"]) for each in listed]
        assert told == [(film_id, *rating[1:]) for film_id, rating in ratings]

    def see_sessions(self, by: Token, own: Account) -> None:
        live = [each for each in self.sessions if each.account is own and self.is_live(each)]
        live.sort(key=lambda each: (each.used_at, each.id), reverse=True)
        told = [(each["id"], each["current"]) for each in self.listed(by, SESSIONS)]
        assert told == [(each.id, each is by.session) for each in live]
