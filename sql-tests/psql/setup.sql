\set orders :folder '/orders.jsonl'
CREATE SOURCE orders (
    order_id BIGINT NOT NULL,
    customer VARCHAR(20),
    amount NUMERIC(12,2),
    ts TIMESTAMP(3),
    WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'file', 'path' = :'orders', 'format' = 'json');
CREATE SINK hole (id BIGINT, customer TEXT) WITH ('connector' = 'blackhole');
CREATE MATERIALIZED VIEW totals AS
    SELECT customer, count(*) AS orders, sum(amount) AS total FROM orders GROUP BY customer;
CREATE MATERIALIZED VIEW big AS SELECT order_id AS n FROM orders;
CREATE STREAMING JOB copy_orders AS INSERT INTO hole SELECT order_id, customer FROM orders;
-- A second time
CREATE SINK IF NOT EXISTS hole (id BIGINT) WITH ('connector' = 'blackhole');
CREATE SINK hole (id BIGINT) WITH ('connector' = 'blackhole');
DROP SOURCE IF EXISTS nosuch;
