CREATE SOURCE orders (
  order_id BIGINT, customer TEXT, amount NUMERIC(12,2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '1' SECOND
) WITH (
  'connector' = 'generator', 'rows-per-second' = '20000',
  'fields.order_id.kind' = 'sequence',
  'fields.customer.values' = 'ada,bob,cyd,dan,eve',
  'fields.amount.min' = '1', 'fields.amount.max' = '100'
);

CREATE MATERIALIZED VIEW per_window AS
SELECT window_start, customer, count(*) AS orders, sum(amount) AS total, CAST(avg(amount) AS NUMERIC(12,2)) AS average
FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '10' SECOND))
GROUP BY window_start, window_end, customer;
