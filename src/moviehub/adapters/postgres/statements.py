"""SQL compiled once, in the form and with the argument order that asyncpg takes."""

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ClauseElement,
    ColumnElement,
    DateTime,
    Select,
    Subquery,
    Table,
    Text,
    bindparam,
    cast,
    func,
    literal_column,
    select,
    true,
    tuple_,
)
from sqlalchemy.dialects.postgresql import ARRAY, asyncpg
from sqlalchemy.sql.base import ReadOnlyColumnCollection
from sqlalchemy.sql.visitors import replacement_traverse
from sqlalchemy.types import TypeEngine

from moviehub.adapters.postgres.tables import labelled
from moviehub.domain.pages import MOST_COUNTED, Cursor, PageRequest

Row = Mapping[str, Any]
"""What a statement returns, by column."""

Columns = ReadOnlyColumnCollection[str, Any]

_ASYNCPG: Any = asyncpg.dialect()  # type: ignore[no-untyped-call]

MOST_INTEGER = 2**31 - 1
MOST_BIGINT = 2**63 - 1


class Statement:
    """One statement: its SQL, and how the values that it names become `$1`, `$2` and so on.

    It is described with SQLAlchemy Core, or where Core cannot say it well as text with the names in `$` order.
    Only what `reads` may be sent a second time.
    """

    def __init__(self, described: ClauseElement | str, *names: str, reads: bool | None = None) -> None:
        self._constants: Mapping[str, Any] = {}
        if isinstance(described, str):
            self.sql, self._names = described, names
        else:
            compiled: Any = described.compile(dialect=_ASYNCPG)
            self.sql, self._names = compiled.string, tuple(compiled.positiontup)
            self._constants = {name: value for name, value in compiled.params.items() if value is not None}
        self.reads = isinstance(described, Select) if reads is None else reads
        self._made_in = _maker()

    def __str__(self) -> str:
        return self.name

    @cached_property
    def name(self) -> str:
        """What to look for in the code: the module, and the constant that holds it or the function that makes it."""
        module, maker = self._made_in
        held = [] if maker != "<module>" else vars(sys.modules[module]).items()
        constant = next((name for name, value in held if self in _statements_in(value)), maker)
        return f"{module.rpartition('.')[2]}.{constant}"

    @property
    def names(self) -> Sequence[str]:
        """Of the values that it takes."""
        return [name for name in self._names if name not in self._constants]

    def arguments(self, values: Mapping[str, Any]) -> list[Any]:
        """The values in the order of `$1`, `$2` and so on; a name without a value is a KeyError."""
        known = {**self._constants, **values} if self._constants else values
        return [known[name] for name in self._names]


def _maker() -> tuple[str, str]:
    """The module and the function, outside of this module, in which a statement is being made."""
    frame = sys._getframe(1)
    while frame.f_globals["__name__"] == __name__ and frame.f_back is not None:
        frame = frame.f_back
    return frame.f_globals["__name__"], frame.f_code.co_name


def _statements_in(value: object) -> list[Statement]:
    found = value.values() if isinstance(value, dict) else [value]
    return [each for each in found if isinstance(each, Statement)]


class Runs(Protocol):
    """Runs statements: each on any connection, or all of them in one transaction."""

    async def rows(self, statement: Statement, **values: Any) -> Sequence[Row]:
        """What the statement returns. Whatever goes wrong is raised as the domain's error."""
        ...


def of_many(one: Select[Any], order: Callable[[Columns], Sequence[ColumnElement[Any]]]) -> Statement:
    """The same select for each of many askings: every parameter becomes a list, with a value of each.

    A row tells by `asking`, from 1, whose it is; `order` is that of one asking's rows.
    """
    kinds: dict[str, TypeEngine[Any]] = {}

    def told(element: Any, **_: object) -> ColumnElement[Any] | None:
        if not isinstance(element, BindParameter) or not element.required:
            return None
        kinds[element.key] = element.type
        value = literal_column(f"asked.{element.key}", type_=element.type)
        collation = getattr(element.type, "collation", None)
        return value.collate(collation) if collation else value  # which an array does not pass on

    of_asked: Any = replacement_traverse(one, {}, told)
    found = of_asked.lateral("found")
    lists = [a_list(name, Text() if isinstance(kind, Text) else kind) for name, kind in kinds.items()]
    asked = func.unnest(*lists).table_valued(*kinds, with_ordinality="asking").render_derived("asked")
    return Statement(
        select(asked.c.asking, *found.c)
        .select_from(asked.join(found, true()))
        .order_by(asked.c.asking, *order(found.c))
    )


def first(rows: Sequence[Row]) -> Row | None:
    """The first row, if there is one."""
    return rows[0] if rows else None


def an_id(name: str) -> BindParameter[int]:
    """A parameter that is an id."""
    return bindparam(name, type_=BigInteger)


def a_number(name: str) -> BindParameter[int]:
    """A parameter that is a whole number."""
    return bindparam(name, type_=BigInteger)


def ids(name: str) -> ColumnElement[Sequence[int]]:
    """A parameter that is a list of ids."""
    return a_list(name, BigInteger())


def a_list(name: str, kind: TypeEngine[Any]) -> ColumnElement[Any]:
    """A parameter that is a list, of a length that the planner does not see: it would think of each anew."""
    return cast(unseen(bindparam(name, type_=ARRAY(kind))), ARRAY(kind))


def a_text(name: str) -> BindParameter[str]:
    """A parameter that is text."""
    return bindparam(name, type_=Text)


def an_instant(name: str) -> BindParameter[Any]:
    """A parameter that is an instant."""
    return bindparam(name, type_=DateTime(timezone=True))


def unseen(parameter: BindParameter[Any]) -> ColumnElement[Any]:
    """The same, hidden from the planner: without better knowledge it keeps one plan, and planning is dear."""
    return select(parameter).scalar_subquery()


def possible(number: int) -> int:
    """`number` if it can be an id, else 0, which none is: what cannot be there is absent, not a fault."""
    return number if 1 <= number <= MOST_BIGINT else 0


def skipped(page: PageRequest) -> int:
    """How many rows come before the page; of any number that no table reaches, the largest that Postgres takes."""
    return min(page.offset, MOST_BIGINT)


def newest(table: Table, *conditions: ColumnElement[bool]) -> Statement:
    """A page of the rows that meet these conditions, the newest first, each with how many there are in all.

    The ids are gathered first, up to the number at which counting stops: they are the total, and the planner sees that
    all are wanted. Asked for ten rows it would walk from the newest one back, however rare what it looks for is.
    """
    most: ColumnElement[int] = literal_column(str(MOST_COUNTED))
    found = select(table.c.id).where(*conditions).order_by(table.c.id.desc()).limit(most).cte("found")
    page = select(found.c.id).order_by(found.c.id.desc()).limit(a_number("size")).offset(a_number("skipped"))
    total = select(func.count()).select_from(found).scalar_subquery()
    return Statement(
        select(*labelled(table), total.label("total"))
        .where(table.c.id == func.any(func.array(page.scalar_subquery())))
        .order_by(table.c.id.desc())
    )


def newest_known(table: Table, *conditions: ColumnElement[bool]) -> Statement:
    """The same page of rows that an index has in this order, where it is known already how many there are."""
    page = select(table.c.id).where(*conditions).order_by(table.c.id.desc())
    page = page.limit(a_number("size")).offset(a_number("skipped"))
    return Statement(
        select(*labelled(table))
        .where(table.c.id == func.any(func.array(page.scalar_subquery())))
        .order_by(table.c.id.desc())
    )


def cut(table: Table, condition: ColumnElement[bool], *order: ColumnElement[Any]) -> Subquery:
    """The rows of a page. An index that has condition and order does the skipping; only the rows of the page are read.

    What is joined to it afterwards is joined to no more rows, however deep the page is.
    """
    wanted = select(table.c.id).where(condition).order_by(*order).limit(a_number("size")).offset(a_number("skipped"))
    return select(table).where(table.c.id == func.any(func.array(wanted.scalar_subquery()))).subquery("page")


def behind(
    key: ColumnElement[Any], number: ColumnElement[int], *, descending: bool = True, hidden: bool = False
) -> ColumnElement[bool]:
    """What comes after the place `after_key`, `after_id` in the order of these two columns; `hidden` as in `unseen`."""
    place = bindparam("after_key", type_=key.type), an_id("after_id")
    here, there = tuple_(key, number), tuple_(*map(unseen, place) if hidden else place)
    return here < there if descending else here > there


def window(page: PageRequest) -> dict[str, Any]:
    """The parameters of a page: a place to start at, and its size with one row more, which tells that more follow."""
    values = {"size": page.size + 1, "skipped": skipped(page)}
    return values if page.after is None else {**values, **place_values(page.after)}


def place_values(place: Cursor) -> dict[str, Any]:
    """The parameters of `behind`."""
    return {"after_key": place.key, "after_id": place.id}


def containing(*texts: str) -> str:
    """The pattern for LIKE of what contains these texts one after another, each character standing for itself."""
    escaped = (text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") for text in texts)
    return f"%{'%'.join(escaped)}%"


def storable(text: str) -> bool:
    """Whether Postgres can hold this text: without NUL and lone surrogates."""
    return not any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text)
