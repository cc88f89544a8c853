-- Nexmark q6. The average price of the last ten closed auctions of each seller. Refused: OVER with a frame is not there yet.
CREATE SOURCE auction (
  id BIGINT, itemname TEXT, description TEXT, initialbid BIGINT, reserve BIGINT, datetime TIMESTAMP(3), expires TIMESTAMP(3),
  seller BIGINT, category BIGINT, extra TEXT,
  WATERMARK FOR datetime AS datetime - INTERVAL '4' SECOND
) WITH ('connector' = 'generator', 'kind' = 'nexmark', 'nexmark.table' = 'auction', 'number-of-rows' = '200000');

CREATE SOURCE bid (
  auction BIGINT, bidder BIGINT, price BIGINT, channel TEXT, url TEXT, datetime TIMESTAMP(3), extra TEXT,
  WATERMARK FOR datetime AS datetime - INTERVAL '4' SECOND
) WITH ('connector' = 'generator', 'kind' = 'nexmark', 'nexmark.table' = 'bid', 'number-of-rows' = '200000');

CREATE SINK q6_out (seller BIGINT, avg_price NUMERIC(38,16)) WITH ('connector' = 'blackhole');

CREATE STREAMING JOB q6 AS
INSERT INTO q6_out
SELECT seller, avg(final) OVER (PARTITION BY seller ORDER BY datetime ROWS BETWEEN 10 PRECEDING AND CURRENT ROW) AS avg_price
FROM (
  SELECT max(b.price) AS final, a.seller, max(b.datetime) AS datetime
  FROM auction AS a, bid AS b
  WHERE a.id = b.auction AND b.datetime BETWEEN a.datetime AND a.expires
  GROUP BY a.id, a.seller
) AS q;
