-- Nexmark q8. New users: who opened an auction within the ten seconds in which he appeared?
CREATE SOURCE person (
  id BIGINT, name TEXT, emailaddress TEXT, creditcard TEXT, city TEXT, state TEXT, datetime TIMESTAMP(3), extra TEXT,
  WATERMARK FOR datetime AS datetime - INTERVAL '4' SECOND
) WITH ('connector' = 'generator', 'kind' = 'nexmark', 'nexmark.table' = 'person', 'number-of-rows' = '200000');

CREATE SOURCE auction (
  id BIGINT, itemname TEXT, description TEXT, initialbid BIGINT, reserve BIGINT, datetime TIMESTAMP(3), expires TIMESTAMP(3),
  seller BIGINT, category BIGINT, extra TEXT,
  WATERMARK FOR datetime AS datetime - INTERVAL '4' SECOND
) WITH ('connector' = 'generator', 'kind' = 'nexmark', 'nexmark.table' = 'auction', 'number-of-rows' = '200000');

CREATE SINK q8_out (id BIGINT, name TEXT, starttime TIMESTAMP(3)) WITH ('connector' = 'blackhole');

CREATE STREAMING JOB q8 AS
INSERT INTO q8_out
SELECT p.id, p.name, p.starttime
FROM (
  SELECT id, name, window_start AS starttime, window_end AS endtime
  FROM TABLE(TUMBLE(TABLE person, DESCRIPTOR(datetime), INTERVAL '10' SECOND))
  GROUP BY id, name, window_start, window_end
) AS p
JOIN (
  SELECT seller, window_start AS starttime, window_end AS endtime
  FROM TABLE(TUMBLE(TABLE auction, DESCRIPTOR(datetime), INTERVAL '10' SECOND))
  GROUP BY seller, window_start, window_end
) AS a
ON p.id = a.seller AND p.starttime = a.starttime AND p.endtime = a.endtime;
