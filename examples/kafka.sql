-- The main job on real input: JSON in a Kafka topic, into a Kafka topic.
CREATE SOURCE orders (
  order_id BIGINT, customer TEXT, amount NUMERIC(12,2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (
  'connector' = 'kafka', 'topic' = 'orders', 'properties.bootstrap.servers' = 'localhost:9092',
  'format' = 'json', 'scan.startup.mode' = 'earliest-offset'
);

CREATE SINK per_minute (window_start TIMESTAMP(3), customer TEXT, orders BIGINT, total NUMERIC(38,2))
WITH (
  'connector' = 'kafka', 'topic' = 'per-minute', 'properties.bootstrap.servers' = 'localhost:9092',
  'format' = 'json', 'key.fields' = 'customer'
);

CREATE STREAMING JOB revenue AS
INSERT INTO per_minute
SELECT window_start, customer, count(*), sum(amount)
FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end, customer;

CREATE MATERIALIZED VIEW live AS
SELECT customer, sum(amount) AS total FROM orders GROUP BY customer;
