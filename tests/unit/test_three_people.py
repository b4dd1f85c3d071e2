"""Three people on one hub try to reach each other's things: in whatever order they act, nobody can."""

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from tests.api import fields, problem
from tests.people import IDLE, ME, SESSIONS, TOKEN, USERS, People

NAMES = ("ann", "bob", "cleo")
LOST_REPLY = timedelta(seconds=10)
WHOLE = timedelta(days=90)
WAITS = (1, 1, 9, 9, 11, 11, 11, 280, 301, 31 * 86_400)
SMUGGLED = ("user_id", "id", "is_superuser", "is_staff", "password_hash", "session_id", "created_at", "owner")
DEEPER = os.environ.get("MOVIEHUB_TEST_EXAMPLES")

people = st.sampled_from(NAMES)
picks = st.integers(0, 99)
proofs = st.sampled_from([True, True, False])
perhaps = st.none() | st.booleans()
mostly = st.sampled_from([None, True, True, False])


Deed = Callable[..., None]
DEEDS: list[st.SearchStrategy[tuple[str, dict[str, Any]]]] = []


def deed(**chosen: st.SearchStrategy[Any]) -> Callable[[Deed], Deed]:
    """Something that people may do, in each step as likely as any other; of rules, Hypothesis leaves out many."""

    def known(act: Deed) -> Deed:
        DEEDS.append(st.tuples(st.just(act.__name__), st.fixed_dictionaries(chosen)))
        return act

    return known


class ThreePeople(People):
    """Everything that people can do, each with a token that they have or that they found."""

    register = deed(name=people, of=st.none() | people)(People.register)
    sign_in = deed(name=people, proof=proofs, by_address=st.booleans())(People.sign_in)

    @initialize()
    def begin(self) -> None:
        for name in NAMES:
            self.register(name, None)
            self.sign_in(name, proof=True, by_address=False)
        self.sign_in("ann", proof=True, by_address=True)
        self.be_governed("ann", None, True)

    @deed(pick=picks, age=st.sampled_from(["newest", "parent", "older", "any"]))
    def refresh(self, pick: int, age: str) -> None:
        ages = {"newest": (0,), "parent": (1,), "older": (2, 3, 4, 5), "any": ()}[age]
        refreshing = [each for each in self.tokens if each.counter is not None and self.is_live(each.session)]
        of_age = [each for each in refreshing if each.session.counter - (each.counter or 0) in ages] or self.tokens
        token = of_age[pick % len(of_age)]
        session, live = token.session, self.is_live(token.session) and self.now < token.expires_at
        answer = self.ask("POST", f"{TOKEN}refresh/", {"refresh": token.text})
        lost = token.counter == session.counter - 1 and self.now - session.used_at <= LOST_REPLY
        if not live or token.counter is None or not (token.counter == session.counter or lost):
            problem(answer, 401, "invalid-token")
            session.ended |= live and token.counter is not None  # somebody has a copy
            return
        if lost:
            assert answer.json()["refresh"] in [each.text for each in self.tokens if each.counter == session.counter]
        else:
            session.counter, session.used_at = session.counter + 1, self.now
            session.expires_at = min(self.now + IDLE, session.created_at + WHOLE)
        self.keep(answer, session)

    @deed(pick=picks)
    def log_out(self, pick: int) -> None:
        token = self.tokens[pick % len(self.tokens)]
        assert self.ask("POST", f"{TOKEN}revoke/", {"refresh": token.text}).json() == {}
        token.session.ended |= token.counter is not None and self.now < token.expires_at

    @deed(seconds=st.sampled_from(WAITS))
    def wait(self, seconds: int) -> None:
        self.api.clock.advance(seconds=seconds)

    @deed(name=people, pick=picks, proof=proofs)
    def change_password(self, name: str, pick: int, proof: bool) -> None:
        self.number += 1
        by, password = self.token(name, pick), f"own phrase {self.number}"
        given = by.session.account.password if proof else "not its own phrase"
        body = {"current_password": given, "new_password": password}
        answer, caller = self.act(by, "POST", f"{USERS}change_password/", body)
        if caller and given != caller.password:
            assert fields(answer) == {"current_password": "wrong"}
        elif caller:
            assert answer.status_code == 204
            caller.password = password
            self.end(caller)

    @deed(name=people, pick=picks, proof=proofs)
    def delete(self, name: str, pick: int, proof: bool) -> None:
        by = self.token(name, pick)
        given = by.session.account.password if proof else "not its own phrase"
        answer, caller = self.act(by, "DELETE", ME, {"password": given})
        if caller and given != caller.password:
            assert fields(answer) == {"password": "wrong"}
        elif caller:
            assert answer.status_code == 204
            del self.accounts[caller.name]

    @deed(name=people, pick=picks, of=st.none() | people)
    def change_profile(self, name: str, pick: int, of: str | None) -> None:
        by, mark, other = self.token(name, pick), self.mark(name), self.accounts.get(of or "")
        owner = by.session.account
        owner.marks.add(mark)
        body = {"bio": mark, "email": other.email if other else f"{mark}@example.org"}
        answer, caller = self.act(by, "PATCH", f"{USERS}update_profile/", body)
        if caller and other not in (None, caller):
            assert fields(answer) == {"email": "taken"}
        elif caller:
            assert answer.status_code == 200
            caller.bio, caller.email = body["bio"], body["email"]

    @deed(name=people, pick=picks, number=picks, keep=proofs)
    def favorite(self, name: str, pick: int, number: int, keep: bool) -> None:
        by, film_id = self.token(name, pick), self.some(self.films, number)
        call = ("POST", "add_to_favorites") if keep else ("DELETE", "remove_from_favorites")
        answer, caller = self.act(by, call[0], f"/api/movies/{film_id}/{call[1]}/")
        if caller is None:
            return
        there = film_id in caller.favorites
        if film_id not in (self.films if keep else caller.favorites):
            problem(answer, 404, "movie-not-found" if keep else "favorite-not-found")
        elif keep:
            assert answer.status_code == (200 if there else 201)
            caller.favorites += [] if there else [film_id]
        else:
            assert answer.status_code == 204
            caller.favorites.remove(film_id)

    @deed(
        name=people,
        pick=picks,
        number=picks,
        method=st.sampled_from(["POST", "POST", "PUT", "PATCH", "DELETE"]),
        score=st.integers(1, 10),
    )
    def rate(self, name: str, pick: int, number: int, method: str, score: int) -> None:
        by, film_id = self.token(name, pick), self.some(self.films, number)
        path = f"/api/movies/{film_id}/" + ("remove_rating/" if method == "DELETE" else "rate/")
        review = f"review {score}" if score % 2 else None
        body = None if method == "DELETE" else {"rating": score} | ({"review": review} if review else {})
        answer, caller = self.act(by, method, path, body)
        if caller is None:
            return
        before = caller.ratings.get(film_id)
        if method in ("PATCH", "DELETE") and before is None:
            problem(answer, 404, "rating-not-found")
        elif film_id not in self.films:
            problem(answer, 404, "movie-not-found")
        elif method == "DELETE":
            assert answer.status_code == 204
            del caller.ratings[film_id]
        else:
            assert answer.status_code == (200 if before else 201)
            self.ids.append(answer.json()["id"])
            kept = before[3] if before and method == "PATCH" and not review else review
            caller.ratings[film_id] = (self.now, self.ids[-1], score, kept)

    @deed(name=people, pick=picks, number=picks)
    def end_session(self, name: str, pick: int, number: int) -> None:
        by, session_id = self.token(name, pick), self.some([each.id for each in self.sessions], number)
        answer, caller = self.act(by, "DELETE", f"{SESSIONS}{session_id}/")
        own = [
            each for each in self.sessions if each.account is caller and each.id == session_id and self.is_live(each)
        ]
        if own:
            assert answer.status_code == 204
            own[0].ended = True
        elif caller:
            problem(answer, 404, "session-not-found")

    @deed(name=people, pick=picks)
    def end_other_sessions(self, name: str, pick: int) -> None:
        by = self.token(name, pick)
        answer, caller = self.act(by, "DELETE", SESSIONS)
        if caller:
            assert answer.status_code == 204
            self.end(caller, but=by.session)

    @deed(name=people, is_active=mostly, is_staff=perhaps)
    def be_governed(self, name: str, is_active: bool | None, is_staff: bool | None) -> None:
        """By root, who has no token that anybody could get."""
        account = self.accounts.get(name)
        if account:
            actor = self.accounts["root"].id
            changes = {"is_active": is_active, "is_staff": is_staff}
            self.runner.run(self.cases["govern_user"](actor_id=actor, user_id=account.id, **changes))
            self.govern(account, is_active, is_staff)

    @deed(name=people, pick=picks, number=picks, is_active=mostly, is_staff=perhaps)
    def try_to_govern(self, name: str, pick: int, number: int, is_active: bool | None, is_staff: bool | None) -> None:
        by, user_id = self.token(name, pick), self.some([each.id for each in self.accounts.values()], number)
        told = {"is_active": is_active, "is_staff": is_staff}
        body = {each: value for each, value in told.items() if value is not None} or {"is_active": True}
        answer, caller = self.act(by, "PATCH", f"{USERS}{user_id}/", body)
        whom = self.of_id(user_id)
        if caller is None:
            return
        if not caller.is_staff:
            problem(answer, 403, "forbidden")
        elif whom is None:
            problem(answer, 404, "user-not-found")
        elif whom is caller or whom.is_staff or is_staff is not None:
            problem(answer, 403, "forbidden")
        else:
            assert answer.json()["is_active"] is body["is_active"]
            self.govern(whom, body["is_active"], None)

    @deed(name=people, pick=picks, number=picks)
    def look_at_others(self, name: str, pick: int, number: int) -> None:
        by, user_id = self.token(name, pick), self.some([each.id for each in self.accounts.values()], number)
        whom = self.of_id(user_id)
        one, caller = self.act(by, "GET", f"{USERS}{user_id}/")
        if caller is None:
            return
        every, _ = self.act(by, "GET", USERS, params={"search": "-PRIVATE-", "page_size": 100})
        if caller.is_staff:
            told = {each["id"]: (each["email"], each["is_staff"]) for each in every.json()["results"]}
            assert told == {each.id: (each.email, each.is_staff) for each in self.accounts.values()}
            assert one.json()["email"] == whom.email if whom else problem(one, 404, "user-not-found")
        else:
            problem(one, 403, "forbidden")
            problem(every, 403, "forbidden")
        trail, _ = self.act(by, "GET", "/api/auth/audit/")
        assert trail.status_code == (200 if caller.is_staff else 403)

    @deed(name=people, pick=picks, number=picks, extra=st.sampled_from(SMUGGLED), call=st.integers(0, 4))
    def smuggle(self, name: str, pick: int, number: int, extra: str, call: int) -> None:
        """Fields that are the hub's own, in bodies that are good without them."""
        by, mark, unknown = self.token(name, pick), self.mark(name), {extra: self.ids[number % len(self.ids)]}
        secret = by.session.account.password
        if call == 0:
            body = {"username": mark, "email": f"{mark}@example.org", "password": "own phrase of nobody"}
            assert fields(self.ask("POST", USERS, body | unknown)) == {extra: "unknown"}
            return
        method, path, given = (
            ("PATCH", f"{USERS}update_profile/", {"bio": mark}),
            ("POST", f"/api/movies/{min(self.films)}/rate/", {"rating": 1}),
            ("DELETE", ME, {"password": secret}),
            ("POST", f"{USERS}change_password/", {"current_password": secret, "new_password": "own phrase of nobody"}),
        )[call - 1]
        answer, caller = self.act(by, method, path, given | unknown)
        if caller:
            assert fields(answer) == {extra: "unknown"}

    @deed(name=people, pick=picks, film_id=st.sampled_from([1, 2, 3]))
    def read_of_a_film(self, name: str, pick: int, film_id: int) -> None:
        by = self.token(name, pick)
        answer, caller = self.act(by, "GET", f"/api/movies/{film_id}/")
        if caller is None:
            return
        everybody = [(*each.ratings[film_id], each.name) for each in self.accounts.values() if film_id in each.ratings]
        told, own = answer.json(), caller.ratings.get(film_id)
        assert told["is_favorite"] is (film_id in caller.favorites)
        assert (told["user_rating"] and told["user_rating"]["rating"]) == (own and own[2])
        assert told["ratings_count"] == len(everybody)
        reviews, _ = self.act(by, "GET", f"/api/movies/{film_id}/reviews/", params={"page_size": 100})
        assert [(each["username"], each["rating"], each["review"]) for each in reviews.json()["results"]] == [
            (writer, score, review) for _, _, score, review, writer in sorted(everybody, reverse=True) if review
        ]

    @rule(what=st.one_of(DEEDS))
    def do(self, what: tuple[str, dict[str, Any]]) -> None:
        getattr(self, what[0])(**what[1])


ThreePeople.TestCase.settings = settings(
    max_examples=int(DEEPER or 8),
    stateful_step_count=100,
    deadline=None,
    suppress_health_check=[*HealthCheck],
    # To find the shortest way to a fault takes minutes, and is left to those who ask for it.
    phases=[*Phase] if DEEPER else [Phase.explicit, Phase.reuse, Phase.generate],
)
TestThreePeople = ThreePeople.TestCase
