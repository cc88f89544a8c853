-- Who buys how much: a view that every order updates.
CREATE SOURCE orders (order_id BIGINT, customer TEXT, amount NUMERIC(12,2), paid BOOLEAN)
WITH (
  'connector' = 'generator', 'number-of-rows' = '10000',
  'fields.order_id.kind' = 'sequence',
  'fields.customer.values' = 'ada,bob,cyd,dan,eve', 'fields.customer.null-rate' = '0.01',
  'fields.amount.min' = '1', 'fields.amount.max' = '100'
);

CREATE MATERIALIZED VIEW customers AS
SELECT customer, count(*) AS orders, count(*) FILTER (WHERE paid) AS paid_orders, sum(amount) AS total,
       min(amount) AS least, max(amount) AS most
FROM orders GROUP BY customer;

SELECT customer, orders, total FROM customers ORDER BY total DESC LIMIT 3;
SELECT count(*) AS customers, sum(orders) AS orders FROM customers;

EXPLAIN CREATE MATERIALIZED VIEW large AS SELECT * FROM orders WHERE amount > 90;
