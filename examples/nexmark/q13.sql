-- Nexmark q13. Bids with a row of a side table, as of processing time. Refused: lookup joins are not there yet.
CREATE SOURCE bid (
  auction BIGINT, bidder BIGINT, price BIGINT, channel TEXT, url TEXT, datetime TIMESTAMP(3), extra TEXT,
  WATERMARK FOR datetime AS datetime - INTERVAL '4' SECOND
) WITH ('connector' = 'generator', 'kind' = 'nexmark', 'nexmark.table' = 'bid', 'number-of-rows' = '200000');

CREATE SOURCE side_input (key BIGINT, value TEXT)
WITH ('connector' = 'generator', 'number-of-rows' = '10000', 'fields.key.kind' = 'sequence');

CREATE SINK q13_out (auction BIGINT, bidder BIGINT, price BIGINT, datetime TIMESTAMP(3), value TEXT) WITH ('connector' = 'blackhole');

CREATE STREAMING JOB q13 AS
INSERT INTO q13_out
SELECT b.auction, b.bidder, b.price, b.datetime, s.value
FROM (SELECT *, PROCTIME() AS p_time FROM bid) AS b
JOIN side_input FOR SYSTEM_TIME AS OF b.p_time AS s ON b.auction % 10000 = s.key;
