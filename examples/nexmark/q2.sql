-- Nexmark q2. Selection: the bids on some auctions.
CREATE SOURCE bid (
  auction BIGINT, bidder BIGINT, price BIGINT, channel TEXT, url TEXT, datetime TIMESTAMP(3), extra TEXT,
  WATERMARK FOR datetime AS datetime - INTERVAL '4' SECOND
) WITH ('connector' = 'generator', 'kind' = 'nexmark', 'nexmark.table' = 'bid', 'number-of-rows' = '200000');

CREATE SINK q2_out (auction BIGINT, price BIGINT) WITH ('connector' = 'blackhole');

CREATE STREAMING JOB q2 AS
INSERT INTO q2_out
SELECT auction, price FROM bid WHERE auction % 123 = 0;
