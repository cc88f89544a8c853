-- Nexmark q14. Calculation: expensive bids, the time of day they came at, and how often there is a c in them.
CREATE SOURCE bid (
  auction BIGINT, bidder BIGINT, price BIGINT, channel TEXT, url TEXT, datetime TIMESTAMP(3), extra TEXT,
  WATERMARK FOR datetime AS datetime - INTERVAL '4' SECOND
) WITH ('connector' = 'generator', 'kind' = 'nexmark', 'nexmark.table' = 'bid', 'number-of-rows' = '200000');

CREATE SINK q14_out (
  auction BIGINT, bidder BIGINT, price NUMERIC(23,3), bidtimetype TEXT, datetime TIMESTAMP(3), extra TEXT, c_counts BIGINT
) WITH ('connector' = 'blackhole');

CREATE STREAMING JOB q14 AS
INSERT INTO q14_out
SELECT auction, bidder, 0.908 * price AS price,
  CASE
    WHEN EXTRACT(HOUR FROM datetime) >= 8 AND EXTRACT(HOUR FROM datetime) <= 18 THEN 'dayTime'
    WHEN EXTRACT(HOUR FROM datetime) <= 6 OR EXTRACT(HOUR FROM datetime) >= 20 THEN 'nightTime'
    ELSE 'otherTime'
  END AS bidtimetype,
  datetime, extra, length(extra) - length(replace(extra, 'c', '')) AS c_counts
FROM bid
WHERE 0.908 * price > 1000000 AND 0.908 * price < 50000000;
