-- Nexmark q7. The highest bids of each ten seconds.
CREATE SOURCE bid (
  auction BIGINT, bidder BIGINT, price BIGINT, channel TEXT, url TEXT, datetime TIMESTAMP(3), extra TEXT,
  WATERMARK FOR datetime AS datetime - INTERVAL '4' SECOND
) WITH ('connector' = 'generator', 'kind' = 'nexmark', 'nexmark.table' = 'bid', 'number-of-rows' = '200000');

CREATE SINK q7_out (auction BIGINT, price BIGINT, bidder BIGINT, datetime TIMESTAMP(3), extra TEXT) WITH ('connector' = 'blackhole');

CREATE STREAMING JOB q7 AS
INSERT INTO q7_out
SELECT b.auction, b.price, b.bidder, b.datetime, b.extra
FROM bid AS b
JOIN (
  SELECT max(price) AS maxprice, window_end AS datetime
  FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(datetime), INTERVAL '10' SECOND))
  GROUP BY window_start, window_end
) AS b1
ON b.price = b1.maxprice
WHERE b.datetime BETWEEN b1.datetime - INTERVAL '10' SECOND AND b1.datetime;
