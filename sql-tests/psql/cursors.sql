-- A few rows at a time
BEGIN;
DECLARE c CURSOR FOR SELECT customer, total FROM totals ORDER BY total DESC NULLS LAST;
FETCH c;
FETCH 1 FROM c;
FETCH ALL FROM c;
FETCH NEXT FROM c;
CLOSE c;
FETCH c;
ROLLBACK;
-- Outside a block
DECLARE c CURSOR FOR SELECT 1;
DECLARE held CURSOR WITH HOLD FOR SELECT order_id FROM orders;
DECLARE held CURSOR WITH HOLD FOR SELECT n FROM big ORDER BY n;
MOVE 2 IN held;
FETCH FORWARD 1 IN held;
BEGIN;
DECLARE held CURSOR FOR SELECT 1;
ROLLBACK;
FETCH PRIOR FROM held;
FETCH ALL held;
CLOSE held;
-- What psql itself does with them
\set FETCH_COUNT 2
SELECT n FROM big ORDER BY n;
SELECT nosuch FROM big;
\unset FETCH_COUNT
-- Rows as text
COPY (SELECT customer, orders, total FROM totals ORDER BY customer) TO STDOUT;
COPY (SELECT E'a\tb\\c\nd', NULL, '', true, ARRAY[1, NULL]) TO STDOUT;
\copy (SELECT n FROM big ORDER BY n) TO STDOUT
COPY totals TO STDOUT;
COPY orders FROM STDIN;
-- Changes, as far as there are any
BEGIN;
DECLARE changes CURSOR FOR SUBSCRIBE (SELECT n FROM big WHERE n > 3);
FETCH 1 changes \gset
\echo :tidemill_diff :n
FETCH ALL changes WITH (timeout = '0s');
COMMIT;
FETCH ALL changes;
SUBSCRIBE TO orders;
SUBSCRIBE TO nosuch;
SUBSCRIBE (SELECT order_id FROM orders);
-- What is closed is gone: at most 256 can be open at once
\set QUIET on
\set ECHO none
SELECT s FROM generate_series(1, 300) AS n, (VALUES (1, 'DECLARE c CURSOR WITH HOLD FOR SUBSCRIBE totals'), (2, 'CLOSE c')) AS x(o, s) ORDER BY n, o \gexec
\set ECHO all
\set QUIET off
-- How long it took
\timing
SELECT 1 AS one;
\timing off
