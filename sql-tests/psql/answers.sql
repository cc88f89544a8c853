-- Several statements: each its own, then all in one message
SELECT 1; SELECT 2;
SELECT 1 AS a \; SELECT 2 AS b, 'x' AS c;
SELECT 1 AS a \; SELECT nosuch FROM totals \; SELECT 2 AS b;
-- Rows, nulls, nothing
SELECT * FROM totals ORDER BY total DESC NULLS LAST;
\pset null '(null)'
SELECT * FROM totals WHERE customer IS NULL;
\pset null ''
SELECT * FROM totals WHERE orders > 100;
SELECT;
;
-- Errors have a place and a remedy
SELECT customer,
       totl
FROM totals;
SELECT * FROM total;
SELECT * FROM orders;
SELEC 1;
SELECT 1 +;
SELECT 'ä', nosuch;
SELECT 1/0;
\echo :SQLSTATE :LAST_ERROR_SQLSTATE :LAST_ERROR_MESSAGE
\set VERBOSITY verbose
SELECT nosuch FROM totals;
\set VERBOSITY terse
SELECT nosuch FROM totals;
\set VERBOSITY sqlstate
SELECT nosuch FROM totals;
\set VERBOSITY default
\set SHOW_CONTEXT always
SELECT nosuch FROM totals;
-- Answers into variables, and in other shapes
SELECT count(*) AS customers, sum(orders) AS orders FROM totals \gset
\echo :customers :orders :ROW_COUNT
SELECT customer, total FROM totals WHERE customer = 'ada' \gx
SELECT customer, orders, total FROM totals \gdesc
\x
SELECT 1 AS one, 'two' AS two;
\x
\pset format unaligned
SELECT customer, total FROM totals WHERE customer = 'bob';
\pset format aligned
\a
\a
\set who bob
SELECT total FROM totals WHERE customer = :'who';
SELECT 'SELECT ' || 42 \gexec
-- Notices and warnings
DROP SINK IF EXISTS nosuch;
COMMIT;
-- Blocks
BEGIN;
SELECT count(*) FROM totals;
SELECT nosuch;
SELECT 1;
ROLLBACK;
SELECT 1 AS again;
-- Settings
SET TimeZone = 'Europe/Berlin';
SHOW TimeZone;
SELECT timestamp with time zone '2026-07-01 12:00:00+00' AS berlin;
RESET TimeZone;
SHOW server_version;
SET nosuch = 1;
\encoding
