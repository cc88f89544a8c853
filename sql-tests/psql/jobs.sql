-- What a query would do
EXPLAIN SELECT customer, sum(amount) FROM orders GROUP BY customer;
EXPLAIN INSERT INTO hole SELECT order_id, customer FROM orders WHERE amount > 1;
EXPLAIN SELECT * FROM totals;
-- What runs; how long and since when differs from run to run
SHOW JOBS \gset
\echo :name is :state with :input_rows rows read, :output_rows written, :delivered_rows delivered, :late_rows late
SELECT name, state, rows, input_rows FROM tidemill.materialized_views ORDER BY name;
SHOW SOURCES;
SHOW SINKS;
STOP copy_orders;
-- What hangs together goes together
DROP SOURCE orders;
DROP SOURCE orders RESTRICT;
DROP SINK hole;
DROP STREAMING JOB totals;
DROP SOURCE orders CASCADE;
\d
DROP SINK hole, nosuch;
DROP SINK IF EXISTS hole, nosuch;
\d
