-- Nexmark q19. The ten highest bids of each auction. Equal prices are told apart by what follows, which the benchmark leaves open.
CREATE SOURCE bid (
  auction BIGINT, bidder BIGINT, price BIGINT, channel TEXT, url TEXT, datetime TIMESTAMP(3), extra TEXT,
  WATERMARK FOR datetime AS datetime - INTERVAL '4' SECOND
) WITH ('connector' = 'generator', 'kind' = 'nexmark', 'nexmark.table' = 'bid', 'number-of-rows' = '200000');

CREATE SINK q19_out (
  auction BIGINT, bidder BIGINT, price BIGINT, channel TEXT, url TEXT, datetime TIMESTAMP(3), extra TEXT, rank_number BIGINT
) WITH ('connector' = 'blackhole');

CREATE STREAMING JOB q19 AS
INSERT INTO q19_out
SELECT auction, bidder, price, channel, url, datetime, extra, rank_number
FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY auction ORDER BY price DESC, datetime, bidder, extra, url) AS rank_number FROM bid
) AS q
WHERE rank_number <= 10;
