-- Nexmark q21. Bids with the id of their channel: of four it is known, of others it is in the url.
CREATE SOURCE bid (
  auction BIGINT, bidder BIGINT, price BIGINT, channel TEXT, url TEXT, datetime TIMESTAMP(3), extra TEXT,
  WATERMARK FOR datetime AS datetime - INTERVAL '4' SECOND
) WITH ('connector' = 'generator', 'kind' = 'nexmark', 'nexmark.table' = 'bid', 'number-of-rows' = '200000');

CREATE SINK q21_out (auction BIGINT, bidder BIGINT, price BIGINT, channel TEXT, channel_id TEXT) WITH ('connector' = 'blackhole');

CREATE STREAMING JOB q21 AS
INSERT INTO q21_out
SELECT auction, bidder, price, channel,
  CASE
    WHEN lower(channel) = 'apple' THEN '0'
    WHEN lower(channel) = 'google' THEN '1'
    WHEN lower(channel) = 'facebook' THEN '2'
    WHEN lower(channel) = 'baidu' THEN '3'
    ELSE regexp_substr(url, '(&|^)channel_id=([^&]*)', 1, 1, '', 2)
  END AS channel_id
FROM bid
WHERE regexp_substr(url, '(&|^)channel_id=([^&]*)', 1, 1, '', 2) IS NOT NULL
  OR lower(channel) IN ('apple', 'google', 'facebook', 'baidu');
