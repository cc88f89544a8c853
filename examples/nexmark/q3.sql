-- Nexmark q3. Local items: who sells in category 10 in Oregon, Idaho or California? An unbounded join.
CREATE SOURCE auction (
  id BIGINT, itemname TEXT, description TEXT, initialbid BIGINT, reserve BIGINT, datetime TIMESTAMP(3), expires TIMESTAMP(3),
  seller BIGINT, category BIGINT, extra TEXT,
  WATERMARK FOR datetime AS datetime - INTERVAL '4' SECOND
) WITH ('connector' = 'generator', 'kind' = 'nexmark', 'nexmark.table' = 'auction', 'number-of-rows' = '200000');

CREATE SOURCE person (
  id BIGINT, name TEXT, emailaddress TEXT, creditcard TEXT, city TEXT, state TEXT, datetime TIMESTAMP(3), extra TEXT,
  WATERMARK FOR datetime AS datetime - INTERVAL '4' SECOND
) WITH ('connector' = 'generator', 'kind' = 'nexmark', 'nexmark.table' = 'person', 'number-of-rows' = '200000');

CREATE SINK q3_out (name TEXT, city TEXT, state TEXT, id BIGINT) WITH ('connector' = 'blackhole');

CREATE STREAMING JOB q3 AS
INSERT INTO q3_out
SELECT p.name, p.city, p.state, a.id
FROM auction AS a JOIN person AS p ON a.seller = p.id
WHERE a.category = 10 AND p.state IN ('OR', 'ID', 'CA');
