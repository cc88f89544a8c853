-- Nexmark q22. Bids with the parts of their url.
CREATE SOURCE bid (
  auction BIGINT, bidder BIGINT, price BIGINT, channel TEXT, url TEXT, datetime TIMESTAMP(3), extra TEXT,
  WATERMARK FOR datetime AS datetime - INTERVAL '4' SECOND
) WITH ('connector' = 'generator', 'kind' = 'nexmark', 'nexmark.table' = 'bid', 'number-of-rows' = '200000');

CREATE SINK q22_out (auction BIGINT, bidder BIGINT, price BIGINT, channel TEXT, dir1 TEXT, dir2 TEXT, dir3 TEXT) WITH ('connector' = 'blackhole');

CREATE STREAMING JOB q22 AS
INSERT INTO q22_out
SELECT auction, bidder, price, channel,
  split_part(url, '/', 4) AS dir1, split_part(url, '/', 5) AS dir2, split_part(url, '/', 6) AS dir3
FROM bid;
