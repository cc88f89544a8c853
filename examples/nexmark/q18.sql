-- Nexmark q18. The last bid of each bidder on each auction. Bids of one millisecond are told apart by price and extra, which the
-- benchmark leaves open.
CREATE SOURCE bid (
  auction BIGINT, bidder BIGINT, price BIGINT, channel TEXT, url TEXT, datetime TIMESTAMP(3), extra TEXT,
  WATERMARK FOR datetime AS datetime - INTERVAL '4' SECOND
) WITH ('connector' = 'generator', 'kind' = 'nexmark', 'nexmark.table' = 'bid', 'number-of-rows' = '200000');

CREATE SINK q18_out (
  auction BIGINT, bidder BIGINT, price BIGINT, channel TEXT, url TEXT, datetime TIMESTAMP(3), extra TEXT
) WITH ('connector' = 'blackhole');

CREATE STREAMING JOB q18 AS
INSERT INTO q18_out
SELECT auction, bidder, price, channel, url, datetime, extra
FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY bidder, auction ORDER BY datetime DESC, price DESC, extra, url) AS rank_number FROM bid
) AS q
WHERE rank_number <= 1;
