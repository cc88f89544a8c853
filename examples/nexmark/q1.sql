-- Nexmark q1. Currency conversion: prices in euros.
CREATE SOURCE bid (
  auction BIGINT, bidder BIGINT, price BIGINT, channel TEXT, url TEXT, datetime TIMESTAMP(3), extra TEXT,
  WATERMARK FOR datetime AS datetime - INTERVAL '4' SECOND
) WITH ('connector' = 'generator', 'kind' = 'nexmark', 'nexmark.table' = 'bid', 'number-of-rows' = '200000');

CREATE SINK q1_out (auction BIGINT, bidder BIGINT, price NUMERIC(23,3), datetime TIMESTAMP(3), extra TEXT) WITH ('connector' = 'blackhole');

CREATE STREAMING JOB q1 AS
INSERT INTO q1_out
SELECT auction, bidder, 0.908 * price AS price, datetime, extra FROM bid;
