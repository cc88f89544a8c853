"""psycopg 3 against Tidemill. One line on stdout for each step that went as it should; see ../mod.rs."""

import datetime as dt
import os
import threading
import time
from decimal import Decimal

import psycopg
from psycopg import errors

VALUES = [
    True,
    1,
    2,
    3,
    1.5,
    2.25,
    Decimal("12.34"),
    "text",
    "abc",
    b"\x01\x02\xff",
    dt.date(2024, 2, 29),
    dt.datetime(2024, 2, 29, 12, 34, 56, 789012),
    dt.datetime(2024, 2, 29, 10, 34, 56, tzinfo=dt.timezone.utc),
    dt.timedelta(days=2, hours=3, minutes=4, seconds=5, microseconds=600000),
    [1, None, 3],
    ["x", 'y"z', None],
]


def check(seen, expected):
    if seen != expected:
        raise AssertionError(f"{seen!r} instead of {expected!r}")


def types(connection, binary):
    query = os.environ["EVERY_TYPE"].replace("$1", "%s")
    with connection.cursor(binary=binary) as cursor:
        row = cursor.execute(query, (1,)).fetchone()
        check(list(row), VALUES)
        check([type(value) for value in row], [type(value) for value in VALUES])
        check(list(cursor.execute(query, (2,)).fetchone())[:13], [None] * 13)


def parameters(connection):
    for query in [
        "SELECT id FROM every_type WHERE b = %s AND s = %s AND i = %s AND l = %s AND r = %s AND d = %s",
        "SELECT id FROM every_type WHERE b = %b AND s = %b AND i = %b AND l = %b AND r = %b AND d = %b",
        "SELECT id FROM every_type WHERE b = %t AND s = %t AND i = %t AND l = %t AND r = %t AND d = %t",
    ]:
        check(connection.execute(query, VALUES[:6]).fetchall(), [(1,)])
    for query in [
        "SELECT id FROM every_type WHERE n = %s AND t = %s AND v = %s AND y = %s AND da = %s AND ts = %s AND tz = %s",
        "SELECT id FROM every_type WHERE n = %b AND t = %b AND v = %b AND y = %b AND da = %b AND ts = %b AND tz = %b",
    ]:
        check(connection.execute(query, VALUES[6:13]).fetchall(), [(1,)])
    check(connection.execute("SELECT id FROM every_type WHERE id = ANY(%s) ORDER BY id", ([1, 2],)).fetchall(), [(1,), (2,)])
    check(connection.execute("SELECT %s::int IS NULL", (None,)).fetchone(), (True,))
    for wanted in [1, 2, 1]:
        found = connection.execute("SELECT id FROM every_type WHERE id = %s", (wanted,), prepare=True)
        check(found.fetchall(), [(wanted,)])


def failure(connection):
    try:
        connection.execute("SELECT nosuch FROM every_type")
        raise AssertionError("a column that does not exist is no error")
    except errors.UndefinedColumn as error:
        check((error.sqlstate, error.diag.statement_position), ("42703", "8"))
    try:
        connection.execute("SELECT 1 / %s", (0,))
        raise AssertionError("1 / 0 is no error")
    except errors.DivisionByZero:
        pass
    check(connection.execute("SELECT 6 * 7").fetchone(), (42,))


def block(connection):
    with connection.transaction():
        check(connection.execute("SELECT count(*) FROM every_type").fetchone(), (2,))
    try:
        with connection.transaction():
            connection.execute("SELECT nosuch")
    except errors.UndefinedColumn:
        pass
    check(connection.info.transaction_status, psycopg.pq.TransactionStatus.IDLE)


def cursor(connection):
    with connection.transaction(), connection.cursor(name="numbers") as numbers:
        numbers.execute("SELECT n FROM generate_series(1, 2000) AS n WHERE n <= %s ORDER BY n", (1000,))
        check(numbers.fetchone(), (1,))
        check(numbers.fetchmany(3), [(2,), (3,), (4,)])
        numbers.scroll(6)
        check(numbers.fetchone(), (11,))
        check(len(numbers.fetchall()), 989)
    with connection.cursor(name="held", withhold=True) as held:
        held.execute("SELECT id FROM every_type ORDER BY id")
        check(held.fetchall(), [(1,), (2,)])


def copy(connection):
    with connection.cursor() as cursor, cursor.copy("COPY (SELECT id, t, b FROM every_type ORDER BY id) TO STDOUT") as rows:
        check(list(rows.rows()), [("1", "text", "t"), ("2", None, None)])


def subscribe(connection):
    with connection.cursor() as cursor, cursor.copy("COPY (SUBSCRIBE (SELECT id FROM every_type)) TO STDOUT") as rows:
        first, second = next(rows.rows()), next(rows.rows())
        check(first[0], second[0])
        check(sorted([first[1:], second[1:]]), [("1", "1"), ("1", "2")])
        connection.cancel_safe()
        try:
            list(rows.rows())
            raise AssertionError("a subscription has ended by itself")
        except errors.QueryCanceled:
            pass
    with connection.transaction():
        connection.execute("DECLARE changes CURSOR FOR SUBSCRIBE every_type")
        rows = connection.execute("FETCH ALL changes WITH (timeout = '0s')").fetchall()
        while len(rows) < 2:
            rows += connection.execute("FETCH ALL changes WITH (timeout = '1s')").fetchall()
        check(sorted(row[1:3] for row in rows), [(1, 1), (1, 2)])


def cancel(connection):
    seconds = threading.Thread(target=lambda: (time.sleep(0.5), connection.cancel_safe()))
    seconds.start()
    try:
        connection.execute(os.environ["ENDLESS"])
        raise AssertionError("the endless query has ended")
    except errors.QueryCanceled:
        pass
    seconds.join()
    check(connection.execute("SELECT 'still there'").fetchone(), ("still there",))


def main():
    # Host, port, user and database come from libpq's variables.
    with psycopg.connect(autocommit=True) as connection:
        check(connection.info.server_version >= 150000, True)
        check(connection.execute("SELECT current_user").fetchone(), (os.environ["PGUSER"],))
        print("connect")
        types(connection, binary=False)
        print("text")
        types(connection, binary=True)
        print("binary")
        for step in [parameters, failure, block, cursor, copy, subscribe, cancel]:
            step(connection)
            print(step.__name__)


main()
