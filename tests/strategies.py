"""What Hypothesis lets people ask for and say: little enough of each that they meet."""

from datetime import date

from hypothesis import strategies as st

from moviehub.domain.audit import Event
from moviehub.domain.movies import ORDERINGS, MovieFacts, MovieFilter
from moviehub.domain.pages import PageRequest

numbers = st.integers(0, 6)
names = st.sampled_from(["ada", "Ada", "bob", "straße", "STRASSE", "o_neil", "eve@example.org"])
addresses = st.sampled_from(["ada@example.org", "ADA@example.org", "bob@example.org", "eve@example.org"])
searches = st.sampled_from(
    ["", "", "a", "A", "DA", "ada", "eve@", "@EXAMPLE.o", "ss", "ße", "o_n", "_", "%", "\\", "\0"]
)
events = st.sampled_from([Event.SIGN_IN, Event.SIGN_IN, Event.ROLE_CHANGE, Event.DELETION])
texts = st.sampled_from([None, "", "fine", "Two\nlines \N{CLAPPER BOARD}"])
pages = st.builds(PageRequest, number=st.integers(1, 3), size=st.integers(1, 4))
waits = st.sampled_from([-1, 0.000001, 1, 60, 13 * 3600])  # clocks of several machines differ
facts = st.builds(
    MovieFacts,
    tmdb_id=st.integers(1, 9),
    title=st.sampled_from(["Éclair", "eclair", "Zoë", "zoe 2", "100%", "a_b", "", "夜"]),
    release_date=st.sampled_from([None, date(1999, 12, 31), date(2000, 1, 1), date(2000, 12, 31)]),
    poster_path=st.sampled_from([None, "", "/p.jpg"]),
    popularity=st.sampled_from([0.0, 1.5, 1e-05, 1e9]),
    vote_average=st.sampled_from([0.0, 5.0, 7.25]),
    vote_count=st.sampled_from([0, 2**40]),
    original_language=st.sampled_from(["", "en", "de"]),
    genre_ids=st.sampled_from([(), (1,), (2, 1), (1, 2)]),
)
orderings = [sign + name for name in ORDERINGS for sign in ("", "-")]
filters = st.builds(MovieFilter, ordering=st.sampled_from(orderings)) | st.builds(
    MovieFilter,
    search=st.sampled_from(["", "", "", "E", "é", "%", "_", " ", "zoe", "夜"]),
    genres=st.sampled_from([(), (), (1,), (2, 3), (9,)]),
    languages=st.sampled_from([(), (), ("en",), ("de", "en")]),
    release_year=st.sampled_from([None, None, 1999, 2000]),
    min_rating=st.sampled_from([None, None, 5.0]),
    max_rating=st.sampled_from([None, None, 5.0]),
    min_popularity=st.sampled_from([None, None, 1.5]),
    ordering=st.sampled_from(orderings),
)
