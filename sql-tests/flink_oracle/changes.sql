-- Joins, sets and ranks whose answers change: regular joins of every kind, semi and anti joins, joins of aggregates, Top-N,
-- de-duplication, set operations. What is compared is what remains.

CREATE TABLE c (id INT, name STRING, city STRING) WITH ('connector' = 'filesystem', 'path' = 'data/customers.jsonl', 'format' = 'json');

CREATE TABLE o (id INT, customer INT, amount INT) WITH ('connector' = 'filesystem', 'path' = 'data/orders.jsonl', 'format' = 'json');

CREATE TABLE b (id INT, reason STRING) WITH ('connector' = 'filesystem', 'path' = 'data/returns.jsonl', 'format' = 'json');

CREATE TABLE n (id INT, k STRING, v INT) WITH ('connector' = 'filesystem', 'path' = 'data/n.jsonl', 'format' = 'json');

CREATE TABLE cdc (cur STRING, rate INT, ts TIMESTAMP(3), PRIMARY KEY (cur) NOT ENFORCED)
WITH ('connector' = 'filesystem', 'path' = 'data/cdc.jsonl', 'format' = 'debezium-json');
-- ours
CREATE SOURCE cdc (cur STRING, rate INT, ts TIMESTAMP(3))
WITH ('connector' = 'file', 'path' = 'data/cdc.jsonl', 'format' = 'debezium-json');

CREATE TABLE j (side STRING, id STRING, k STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = 'data/j.jsonl', 'format' = 'json');

CREATE TABLE se (id INT, k STRING, ts TIMESTAMP(3), v INT, WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = 'data/se.jsonl', 'format' = 'json');

CREATE TABLE tj (side STRING, id INT, k STRING, ts TIMESTAMP(3), v INT, WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = 'data/tj.jsonl', 'format' = 'json');

CREATE VIEW jl AS SELECT id, k FROM j WHERE side = 'L';

CREATE VIEW jr AS SELECT id, k FROM j WHERE side = 'R';

-- case join_null_keys
SELECT l.id AS lid, r.id AS rid FROM jl l JOIN jr r ON l.k = r.k;

-- case join_null_safe_keys
SELECT l.id AS lid, r.id AS rid FROM jl l JOIN jr r ON l.k IS NOT DISTINCT FROM r.k;

-- case join_inner
SELECT c.name, o.id AS oid, o.amount FROM c JOIN o ON c.id = o.customer;

-- case join_left
SELECT c.name, o.id AS oid, o.amount FROM c LEFT JOIN o ON c.id = o.customer;

-- case join_right
SELECT c.name, o.id AS oid, o.amount FROM c RIGHT JOIN o ON c.id = o.customer;

-- case join_full
SELECT c.name, o.id AS oid, o.amount FROM c FULL JOIN o ON c.id = o.customer;

-- case join_left_with_condition
SELECT c.name, o.id AS oid FROM c LEFT JOIN o ON c.id = o.customer AND o.amount > 5;

-- case join_full_with_condition
SELECT c.name, o.id AS oid FROM c FULL JOIN o ON c.id = o.customer AND c.city IS NOT NULL;

-- case join_full_null_safe
SELECT c.name, o.id AS oid FROM c FULL JOIN o ON c.id IS NOT DISTINCT FROM o.customer;

-- case join_theta
SELECT x.id AS xid, y.id AS yid FROM se x JOIN se y ON x.v < y.v WHERE x.id = 1;

-- case join_cross
SELECT c.name, b.reason FROM c CROSS JOIN b;

-- case join_three
SELECT c.name, o.id AS oid, b.reason FROM c LEFT JOIN o ON c.id = o.customer LEFT JOIN b ON o.id = b.id;

-- case join_itself
SELECT x.name AS x, y.name AS y FROM c x JOIN c y ON x.city = y.city AND x.id < y.id;

-- case join_of_aggregates
SELECT x.customer, x.s, y.n FROM (SELECT customer, SUM(amount) AS s FROM o GROUP BY customer) x
LEFT JOIN (SELECT id, COUNT(*) AS n FROM c GROUP BY id) y ON x.customer = y.id;

-- case join_full_of_aggregates
SELECT x.city, x.c, y.reason, y.n FROM (SELECT city, COUNT(*) AS c FROM c GROUP BY city) x
FULL JOIN (SELECT reason, COUNT(*) AS n FROM b GROUP BY reason) y ON x.c = y.n;

-- case join_then_aggregate
SELECT c.city, COUNT(*) AS n, SUM(o.amount) AS s FROM c LEFT JOIN o ON c.id = o.customer GROUP BY c.city;

-- case join_changes
SELECT r.cur, r.rate, n.id FROM cdc r LEFT JOIN n ON r.rate = n.id;

-- case changes_alone
SELECT cur, rate FROM cdc;

-- case semi_in
SELECT name FROM c WHERE id IN (SELECT customer FROM o);

-- case semi_exists
SELECT id FROM o WHERE EXISTS (SELECT 1 FROM b WHERE b.id = o.id AND b.reason IS NOT NULL);

-- case anti_exists
SELECT name FROM c WHERE NOT EXISTS (SELECT 1 FROM o WHERE o.customer = c.id);

-- case anti_in_with_nulls
SELECT name FROM c WHERE id NOT IN (SELECT customer FROM o);

-- case anti_in_without_nulls
SELECT id FROM o WHERE id NOT IN (SELECT id FROM b WHERE id IS NOT NULL);

-- case not_in_a_null
SELECT id FROM n WHERE k NOT IN (SELECT k FROM n WHERE id = 5);

-- case scalar_sub_query
SELECT id FROM o WHERE amount = (SELECT MAX(amount) FROM o);

-- case union_distinct
SELECT id FROM o UNION SELECT id FROM b;

-- case union_all
SELECT id FROM o UNION ALL SELECT id FROM b;

-- case intersect_sets
SELECT id FROM o INTERSECT SELECT id FROM b;

-- case except_sets
SELECT id FROM b EXCEPT SELECT id FROM o;

-- case intersect_nulls
SELECT city FROM c INTERSECT SELECT reason FROM b;

-- case distinct_nulls
SELECT DISTINCT k FROM n;

-- case distinct_counts
SELECT k, COUNT(DISTINCT v) AS d, COUNT(*) AS c, MIN(v) AS mi FROM n GROUP BY k;

-- case having_changes
SELECT customer, COUNT(*) AS n FROM o GROUP BY customer HAVING COUNT(*) = 1;

-- case aggregate_of_aggregate
SELECT n, COUNT(*) AS customers FROM (SELECT customer, COUNT(*) AS n FROM o GROUP BY customer) GROUP BY n;

-- case first_row_of_a_key
SELECT id, k, ts, v FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts ASC) AS rn FROM tj WHERE side = 'R') WHERE rn = 1;

-- case last_row_of_a_key
SELECT id, k, ts, v FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts DESC) AS rn FROM tj WHERE side = 'R') WHERE rn = 1;

-- case last_row_late
SELECT k, id FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts DESC) AS rn FROM se) WHERE rn = 1;

-- case last_row_qualify
SELECT k, id FROM se QUALIFY ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts DESC) = 1;

-- case top_two
SELECT id, v, rn FROM (SELECT *, ROW_NUMBER() OVER (ORDER BY v DESC) AS rn FROM se) WHERE rn <= 2;

-- case top_two_of_a_key
SELECT k, id FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY v DESC) AS rn FROM se) WHERE rn <= 2;

-- case second_of_a_key
SELECT k, id, rn FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY v) AS rn FROM se) WHERE rn = 2;

-- case top_nulls
SELECT id, rn FROM (SELECT *, ROW_NUMBER() OVER (ORDER BY v ASC, id) AS rn FROM n) WHERE rn <= 2;

-- case top_of_aggregates
SELECT customer, s FROM (SELECT *, ROW_NUMBER() OVER (ORDER BY s DESC, customer) AS rn FROM (
  SELECT customer, SUM(amount) AS s FROM o WHERE amount IS NOT NULL AND customer IS NOT NULL GROUP BY customer)) WHERE rn <= 2;

-- case top_of_changes
SELECT cur, rate FROM (SELECT *, ROW_NUMBER() OVER (ORDER BY rate DESC) AS rn FROM cdc) WHERE rn <= 1;

-- case order_limit
SELECT id, v FROM se ORDER BY v DESC LIMIT 3;
