WITH gaps AS (
  SELECT bidder, datetime,
    CASE WHEN datetime - lag(datetime) OVER (PARTITION BY bidder ORDER BY datetime) <= INTERVAL '10 seconds' THEN 0 ELSE 1 END AS begins
  FROM bid
), numbered AS (
  SELECT bidder, datetime, sum(begins) OVER (PARTITION BY bidder ORDER BY datetime ROWS UNBOUNDED PRECEDING) AS session FROM gaps
)
SELECT bidder, count(*) AS bid_count, min(datetime) AS starttime, max(datetime) + INTERVAL '10 seconds' AS endtime
FROM numbered
GROUP BY bidder, session
