-- Results that change, written as change events: each customer's total so far.
CREATE SOURCE orders (order_id BIGINT, customer TEXT, amount NUMERIC(12,2))
WITH (
  'connector' = 'generator', 'number-of-rows' = '10000', 'fields.order_id.kind' = 'sequence',
  'fields.customer.values' = 'ann,bob,cid', 'fields.amount.min' = '1', 'fields.amount.max' = '100'
);

-- With a primary key, print tells of each customer at most once a tick: +I first, then -U and +U.
CREATE SINK totals (customer TEXT, orders BIGINT, total NUMERIC(38,2), PRIMARY KEY (customer) NOT ENFORCED)
WITH ('connector' = 'print');

CREATE STREAMING JOB totalling AS
INSERT INTO totals
SELECT customer, count(*), sum(amount) FROM orders GROUP BY customer;
