WITH counts AS (
  SELECT auction, count(*) AS num, date_bin(INTERVAL '2 seconds', datetime) - back AS starttime
  FROM bid CROSS JOIN (VALUES (INTERVAL '0 seconds'), (INTERVAL '2 seconds'), (INTERVAL '4 seconds'), (INTERVAL '6 seconds'), (INTERVAL '8 seconds')) AS slides (back)
  GROUP BY auction, date_bin(INTERVAL '2 seconds', datetime) - back
)
SELECT auction, num
FROM (SELECT auction, num, rank() OVER (PARTITION BY starttime ORDER BY num DESC) AS place FROM counts) AS ranked
WHERE place = 1
