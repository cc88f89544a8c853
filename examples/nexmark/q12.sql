-- Nexmark q12. The bids of each bidder in every ten seconds of processing time.
CREATE SOURCE bid (
  auction BIGINT, bidder BIGINT, price BIGINT, channel TEXT, url TEXT, datetime TIMESTAMP(3), extra TEXT,
  WATERMARK FOR datetime AS datetime - INTERVAL '4' SECOND
) WITH ('connector' = 'generator', 'kind' = 'nexmark', 'nexmark.table' = 'bid', 'number-of-rows' = '200000');

CREATE SINK q12_out (
  bidder BIGINT, bid_count BIGINT, starttime TIMESTAMP(3) WITH TIME ZONE, endtime TIMESTAMP(3) WITH TIME ZONE
) WITH ('connector' = 'blackhole');

CREATE STREAMING JOB q12 AS
INSERT INTO q12_out
WITH b AS (SELECT bidder, PROCTIME() AS p_time FROM bid)
SELECT bidder, count(*) AS bid_count, window_start AS starttime, window_end AS endtime
FROM TABLE(TUMBLE(TABLE b, DESCRIPTOR(p_time), INTERVAL '10' SECOND))
GROUP BY bidder, window_start, window_end;
