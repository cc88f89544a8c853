-- Nexmark q10. All bids into files, by day and minute. Refused: files are not partitioned by columns yet.
CREATE SOURCE bid (
  auction BIGINT, bidder BIGINT, price BIGINT, channel TEXT, url TEXT, datetime TIMESTAMP(3), extra TEXT,
  WATERMARK FOR datetime AS datetime - INTERVAL '4' SECOND
) WITH ('connector' = 'generator', 'kind' = 'nexmark', 'nexmark.table' = 'bid', 'number-of-rows' = '200000');

CREATE SINK q10_out (
  auction BIGINT, bidder BIGINT, price BIGINT, datetime TIMESTAMP(3), extra TEXT, day TEXT, minute TEXT
) PARTITIONED BY (day, minute) WITH ('connector' = 'file', 'path' = 'q10', 'format' = 'json');

CREATE STREAMING JOB q10 AS
INSERT INTO q10_out
SELECT auction, bidder, price, datetime, extra, to_char(datetime, 'YYYY-MM-DD'), to_char(datetime, 'HH24:MI') FROM bid;
