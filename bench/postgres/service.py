"""A small HTTP service in front of PostgreSQL, to search the capacity of: waitress (8 threads), psycopg2, one connection a
thread. `GET /account/N` reads a row, `POST /account/N` adds to it in a transaction. Ends with its parent's SIGTERM."""

import sys
import threading

import psycopg2
import waitress

SOCKETS, THREADS, ACCOUNTS = sys.argv[1], 8, 10_000
local = threading.local()


def connection():
    if not hasattr(local, "connection"):
        local.connection = psycopg2.connect(host=SOCKETS, user="bench", dbname="bench")
        local.connection.autocommit = True
    return local.connection


def setup():
    with connection().cursor() as cursor:
        cursor.execute("CREATE TABLE account (id int PRIMARY KEY, balance bigint NOT NULL)")
        cursor.execute("INSERT INTO account SELECT i, 0 FROM generate_series(1, %s) i", (ACCOUNTS,))
        cursor.execute("ANALYZE account")


def app(environ, start_response):
    parts = environ["PATH_INFO"].split("/")
    if len(parts) != 3 or parts[1] != "account" or not parts[2].isdigit():
        start_response("404 Not Found", [("Content-Length", "0")])
        return [b""]
    with connection().cursor() as cursor:
        if environ["REQUEST_METHOD"] == "POST":
            query = "UPDATE account SET balance = balance + 1 WHERE id = %s RETURNING balance"
        else:
            query = "SELECT balance FROM account WHERE id = %s"
        cursor.execute(query, (int(parts[2]),))
        row = cursor.fetchone()
    body = b"" if row is None else b'{"balance":%d}' % row[0]
    status = "404 Not Found" if row is None else "200 OK"
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


setup()
server = waitress.create_server(app, listen="127.0.0.1:0", threads=THREADS)
print(server.effective_port, flush=True)
server.run()
