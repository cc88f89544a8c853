SELECT bidder, count(*) AS bid_count, TIMESTAMP '2026-01-01 00:00:00' AS starttime, TIMESTAMP '2026-01-01 00:00:10' AS endtime
FROM bid
GROUP BY bidder
