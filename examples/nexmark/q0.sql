-- Nexmark q0. All bids as they are: what reading and writing cost.
CREATE SOURCE bid (
  auction BIGINT, bidder BIGINT, price BIGINT, channel TEXT, url TEXT, datetime TIMESTAMP(3), extra TEXT,
  WATERMARK FOR datetime AS datetime - INTERVAL '4' SECOND
) WITH ('connector' = 'generator', 'kind' = 'nexmark', 'nexmark.table' = 'bid', 'number-of-rows' = '200000');

CREATE SINK q0_out (auction BIGINT, bidder BIGINT, price BIGINT, datetime TIMESTAMP(3), extra TEXT) WITH ('connector' = 'blackhole');

CREATE STREAMING JOB q0 AS
INSERT INTO q0_out
SELECT auction, bidder, price, datetime, extra FROM bid;
