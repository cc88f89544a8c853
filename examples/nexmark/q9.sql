-- Nexmark q9. The winning bid of each auction. Ties are broken by bidder and extra, which the benchmark leaves open.
CREATE SOURCE auction (
  id BIGINT, itemname TEXT, description TEXT, initialbid BIGINT, reserve BIGINT, datetime TIMESTAMP(3), expires TIMESTAMP(3),
  seller BIGINT, category BIGINT, extra TEXT,
  WATERMARK FOR datetime AS datetime - INTERVAL '4' SECOND
) WITH ('connector' = 'generator', 'kind' = 'nexmark', 'nexmark.table' = 'auction', 'number-of-rows' = '200000');

CREATE SOURCE bid (
  auction BIGINT, bidder BIGINT, price BIGINT, channel TEXT, url TEXT, datetime TIMESTAMP(3), extra TEXT,
  WATERMARK FOR datetime AS datetime - INTERVAL '4' SECOND
) WITH ('connector' = 'generator', 'kind' = 'nexmark', 'nexmark.table' = 'bid', 'number-of-rows' = '200000');

CREATE SINK q9_out (
  id BIGINT, itemname TEXT, description TEXT, initialbid BIGINT, reserve BIGINT, datetime TIMESTAMP(3), expires TIMESTAMP(3),
  seller BIGINT, category BIGINT, extra TEXT,
  auction BIGINT, bidder BIGINT, price BIGINT, bid_datetime TIMESTAMP(3), bid_extra TEXT
) WITH ('connector' = 'blackhole');

CREATE STREAMING JOB q9 AS
INSERT INTO q9_out
SELECT id, itemname, description, initialbid, reserve, datetime, expires, seller, category, extra,
  auction, bidder, price, bid_datetime, bid_extra
FROM (
  SELECT a.*, b.auction, b.bidder, b.price, b.datetime AS bid_datetime, b.extra AS bid_extra,
    ROW_NUMBER() OVER (PARTITION BY a.id ORDER BY b.price DESC, b.datetime, b.bidder, b.extra) AS rownum
  FROM auction AS a, bid AS b
  WHERE a.id = b.auction AND b.datetime BETWEEN a.datetime AND a.expires
) AS q
WHERE rownum <= 1;
