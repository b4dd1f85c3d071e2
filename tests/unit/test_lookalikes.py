"""Names that look or mean alike: which are one account, which are refused, and which are allowed to differ."""

import asyncio
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moviehub.domain.errors import Invalid
from moviehub.domain.text import cased
from moviehub.domain.users import NewUser, Taken, User, check_account, check_email, check_password_for, check_username
from moviehub.entrypoints.harness import Harness
from tests.api import PASSWORD, Api, fields, problem

NOW = datetime(2030, 1, 1, tzinfo=UTC)
TOKEN, USERS, PROFILE = "/api/auth/token/", "/api/auth/users/", "/api/auth/users/update_profile/"

ALIKE = {
    "case": ("alice", "ALICE", "aLiCe"),
    "full width": ("alice.1", "ａｌｉｃｅ．１", "ＡＬＩＣＥ.1"),
    "ligatures": ("office", "oﬃce", "oﬀice", "OFFICE", "oﬃCE"),
    "digits in circles and above": ("user12", "user①②", "user¹²", "user１2", "𝐮𝐬𝐞𝐫𝟏𝟐"),
    "ordinals and letters above": ("maria", "mariª", "ᵐaria", "ⅿaria"),
    "letters of mathematics": ("alice", "𝒶𝓁𝒾𝒸ℯ", "𝕬𝕷𝕴𝕮𝕰", "ⓐⓛⓘⓒⓔ"),
    "an accent of its own": ("renée", "rene\u0301e", "RENÉE", "RENE\u0301E"),
    "a long s": ("sister", "ſiſter"),
    "a sharp s": ("strasse", "straße", "STRAẞE", "straſſe"),
    "the signs of Kelvin and Ångström": ("kåre", "\u212aåre", "K\u212bre"),
    "a final sigma": ("σοφοσ", "σοφος", "ΣΟΦΟΣ"),
    "a dotted capital i": ("i\u0307stanbul", "İstanbul", "İSTANBUL"),
    "Roman numerals": ("henry.viii", "henry.ⅷ", "HENRY.Ⅷ"),
    "half-width kana": ("カナカナ", "ｶﾅｶﾅ"),
    "letters of Cherokee": ("ᎠᎡᎢ", "ꭰꭱꭲ"),
}
"""By what they differ in: spellings of one name, of which the second and later ones may be registered."""

APART = {
    "a homoglyph of Cyrillic": ("alice", "\N{CYRILLIC SMALL LETTER A}lice"),
    "a homoglyph of Greek": ("nemo", "nem\N{GREEK SMALL LETTER OMICRON}"),
    "a whole word of another script": ("сосо", "coco"),
    "a dotless i": ("ali.baba", "alı.baba"),
    "a dotted capital i": ("istanbul", "İstanbul"),
    "the digits of another script": ("user1", "user\N{ARABIC-INDIC DIGIT ONE}"),
    "an accent": ("renee", "renée"),
    "a click that looks like an l": ("alice", "a\N{LATIN LETTER DENTAL CLICK}ice"),
    "a dot": ("alice", "al.ice"),
    "signs": ("a-lice", "a_lice"),
}

ZERO_WIDTH = "\u200b\u200c\u200d\u2060\ufeff\u180e"
BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
FILLERS = "\u115f\u1160\u3164\uffa0"
HIDDEN = {
    **{f"U+{ord(c):04X}": f"al{c}ice" for c in ZERO_WIDTH + BIDI + FILLERS},
    "a soft hyphen": "al\u00adice",
    "a joiner of graphemes": "al\u034fice",
    "a selector of variants": "alice\ufe0f",
    "a tag": "alice\U000e0061",
    "a mark that no letter takes in": "ali\u0336ce",
    "many marks": "a\u0301\u0302\u0303lice",
    "a mark in front": "\u0301alice",
    "a space behind": "alice ",
    "a space in front": " alice",
    "a space that does not break": "al\u00a0ice",
    "a wide space": "alice\u3000",
    "a thin space": "al\u2009ice",
    "a line separator": "alice\u2028",
    "a blank of Braille": "al\u2800ice",
    "a phrase in one letter": "alice\ufdfa",
    "a digit with a dot": "alice\N{DIGIT ONE FULL STOP}\N{SNOWMAN}",
    "a number in brackets": "alice\N{PARENTHESIZED DIGIT ONE}",
    "a fraction": "alice½",
    "a picture": "alice\N{GRINNING FACE}",
}


def account(username: str = "somebody", email: str = "somebody@example.org") -> dict[str, str]:
    return {"username": username, "email": email, "password": PASSWORD}


@pytest.mark.parametrize("spellings", ALIKE.values(), ids=ALIKE)
async def test_spellings_that_fold_alike_are_one_account(api: Api, spellings: tuple[str, ...]) -> None:
    plain, *others = spellings
    for number, first in enumerate(others):
        assert (await api.post(USERS, account(first))).status_code == 201, first
        for again in spellings:
            assert (await api.sign_in(again))["user"]["username"] == unicodedata.normalize("NFKC", first)
        for second in others:
            taken = await api.post(USERS, account(second, f"other{number}@example.org"))
            assert fields(taken) == {"username": "taken"}, (first, second)
        access = (await api.sign_in(plain))["access"]
        assert (await api("DELETE", "/api/auth/users/me/", {"password": PASSWORD}, token=access)).status_code == 204


@pytest.mark.parametrize("names", APART.values(), ids=APART)
async def test_letters_of_other_scripts_may_look_alike_for_the_contract_allows_every_letter(
    api: Api, names: tuple[str, str]
) -> None:
    for number, name in enumerate(names):
        assert (await api.post(USERS, account(name, f"a{number}@example.org"))).status_code == 201
    one, other = [await api.sign_in(name) for name in names]
    assert one["user"]["id"] != other["user"]["id"]


async def test_what_nobody_sees_or_says_is_no_part_of_a_name(api: Api) -> None:
    await api.register("alice")
    for what, name in HIDDEN.items():
        for changed, field in (
            (account(name), "username"),
            (account(email=f"{name}@example.org"), "email"),
            (account(email=f"alice@{name}.example.org"), "email"),
        ):
            assert fields(await api.post(USERS, changed)).keys() == {field}, what
        login = await api.post(TOKEN, {"username": name, "password": PASSWORD})
        problem(login, 401, "bad-credentials")


ADDRESSES = ("ﬁrst.mail@kino.example.org", "FIRST.MAIL@KINO.EXAMPLE.ORG", "ｆirst.mail@\u212aino.example.org")


@pytest.mark.parametrize("first", ADDRESSES)
async def test_addresses_that_fold_alike_are_one_account(api: Api, first: str) -> None:
    assert (await api.post(USERS, account("first", first))).status_code == 201
    for number, second in enumerate(ADDRESSES):
        assert (await api.sign_in(second))["user"] == {"id": 1, "username": "first", "email": first}
        assert fields(await api.post(USERS, account(f"other{number}", second))) == {"email": "taken"}
    access = await api.joined("other")
    for second in ADDRESSES:
        assert fields(await api("PATCH", PROFILE, {"email": second}, token=access)) == {"email": "taken"}
    own = (await api.sign_in("first"))["access"]
    for again in ADDRESSES:
        assert (await api("PATCH", PROFILE, {"email": again}, token=own)).json()["user"]["email"] == again


OWN_AND_FOREIGN = {
    "as it is": ("bob@example.org", "bob@example.org"),
    "in another case": ("BOB@example.org", "bob@EXAMPLE.org"),
    "in full width": ("ｂｏｂ＠ｅｘａｍｐｌｅ．ｏｒｇ", "bob@example.org"),
    "longer than an address may be": ("ffi" * 30 + "@example.org", "ﬃ" * 30 + "@example.org"),
    "longer in capitals": ("ss" * 40 + "@example.org", "ß" * 40 + "@example.org"),
}


@pytest.mark.parametrize(("username", "address"), OWN_AND_FOREIGN.values(), ids=OWN_AND_FOREIGN)
async def test_nobody_sits_on_an_address_that_somebody_else_may_sign_in_with(
    api: Api, username: str, address: str
) -> None:
    assert fields(await api.post(USERS, account(username))) == {"username": "address"}
    with pytest.raises(Invalid, match="the account's own"):
        NewUser(username=username, email="somebody@example.org", password_hash="x")
    if len(address) == len(username):
        assert (await api.post(USERS, account(username, address))).status_code == 201


def test_a_fault_of_a_name_that_is_an_address_too_is_told_once() -> None:
    with pytest.raises(Invalid) as caught:
        check_account(username="b!b@example.org", email="somebody@example.org", password=PASSWORD)
    assert [(fault.field, fault.code) for fault in caught.value.errors] == [("username", "characters")]
    user = User(id=1, username="b@c.example", email="b@c.example", password_hash="x", created_at=NOW, updated_at=NOW)
    with pytest.raises(Invalid) as caught:
        user.with_profile(NOW, email="no address")
    assert [(fault.field, fault.code) for fault in caught.value.errors] == [("email", "format")]


@pytest.mark.parametrize("email", ["a⒈.b@example.org", "ﷺ@example.org", "a@example⒈.org", "ﷲ" * 60 + "@example.org"])
def test_an_address_is_one_in_every_form(email: str) -> None:
    with pytest.raises(Invalid, match="email"):
        check_email(email)


@pytest.mark.parametrize(
    "password", ["ALICEWONDER", "my ａｌｉｃｅｗｏｎｄｅｒ", "𝒶𝓁𝒾𝒸ℯwonder it is", "a phrase of \u212aino.mail"]
)
@pytest.mark.parametrize("username", ["AliceWonder", "ａｌｉｃｅｗｏｎｄｅｒ"])
def test_a_password_does_not_give_away_its_owner_in_other_letters(username: str, password: str) -> None:
    with pytest.raises(Invalid, match="unlike the username"):
        check_password_for(password, username=username, email="ＫＩＮＯ.mail@example.org")


LETTERS = st.characters(categories=("Lu", "Ll", "Lt", "Lm", "Lo", "Nd", "Nl", "No"))
MARKS = st.characters(categories=("Mn", "Mc"))


def every_letter() -> Iterator[str]:
    return map(chr, range(0x110000))


def test_folding_twice_is_folding_once_for_every_character_there_is() -> None:
    assert [c for c in every_letter() if cased(cased(c)) != cased(c)] == []


def test_the_letters_that_nobody_sees_are_the_fillers_alone() -> None:
    """Were there others, Unicode would call them so."""
    unseen = {c for c in every_letter() if c.isalpha() and "FILLER" in unicodedata.name(c, "")}
    assert unseen == {*FILLERS}
    for filler in FILLERS:
        with pytest.raises(Invalid):
            check_username(f"alice{filler}")


@st.composite
def usernames(draw: st.DrawFn) -> str:
    """What somebody may register as: letters with marks, digits and signs of all the world."""
    parts = st.one_of(LETTERS, st.tuples(LETTERS, MARKS).map("".join), st.sampled_from("@.+-_0aAßſıİσςK①ﬁªﷲᾳ"))
    text = "".join(draw(st.lists(parts, min_size=3, max_size=20)))
    try:
        check_account(username=text, email="mail@of.example", password=PASSWORD)
    except Invalid:
        text = draw(st.text("aßſıİσςÅ@+_①ﬁªé", min_size=3, max_size=20))
    return text


def spellings(name: str) -> set[str]:
    """Other ways to write a name that mean the same."""
    wide = "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in name)
    forms = {unicodedata.normalize(form, text) for form in ("NFC", "NFD", "NFKC", "NFKD") for text in (name, wide)}
    written = {change(form) for form in forms for change in (str, str.upper, str.lower, str.casefold, str.swapcase)}
    return {each for each in written if cased(each) == cased(name)} | {wide, cased(name)}


@settings(deadline=None)
@given(usernames())
def test_who_has_a_name_signs_in_with_every_spelling_of_it_and_nobody_else_gets_one(name: str) -> None:
    kept = check_username(name)
    assert check_username(kept) == kept
    assert cased(cased(name)) == cased(kept) == cased(name)

    async def live(hub: Harness) -> None:
        await hub.register(username=name, email="mail@of.example", password=PASSWORD)
        for spelling in sorted(spellings(name)):
            assert (await hub.sign_in(login=spelling, password=PASSWORD)).user.username == kept
            try:
                check_username(spelling)
            except Invalid:
                continue
            with pytest.raises(Taken) as refused:
                await hub.register(username=spelling, email="another@of.example", password=PASSWORD)
            assert [fault.field for fault in refused.value.errors] == ["username"]

    asyncio.run(live(Harness()))
