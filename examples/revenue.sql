-- Revenue by minute and customer, emitted when each minute closes.
CREATE SOURCE orders (
  order_id BIGINT, customer TEXT, amount NUMERIC(12,2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (
  'connector' = 'generator', 'number-of-rows' = '20000',
  'fields.order_id.kind' = 'sequence',
  'fields.customer.values' = 'ada,bob,cyd,dan',
  'fields.amount.min' = '1', 'fields.amount.max' = '100',
  'fields.ts.start' = '2026-01-01 00:00:00', 'fields.ts.step' = '10 ms', 'fields.ts.max-past' = '3 s'
);

CREATE SINK per_minute (window_start TIMESTAMP(3), customer TEXT, orders BIGINT, total NUMERIC(38,2))
WITH ('connector' = 'blackhole');

CREATE STREAMING JOB revenue AS
INSERT INTO per_minute
SELECT window_start, customer, count(*), sum(amount)
FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end, customer;

-- The same as a view, to look at.
CREATE MATERIALIZED VIEW minutes AS
SELECT window_start, count(*) AS orders, sum(amount) AS total
FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end;

SELECT * FROM minutes ORDER BY window_start;
